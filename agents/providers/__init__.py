"""Who answers for a model: Ollama, and the providers of LangChain."""
