"""Reading jobs, without LangGraph and without writing."""
