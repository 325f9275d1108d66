"""Nodes at work: from a definition to a LangGraph graph."""
