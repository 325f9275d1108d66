"""LangGraph's checkpoints: saved behind a fence, read, forked."""
