"""Everything in this floor that depends on private names of LangGraph."""
