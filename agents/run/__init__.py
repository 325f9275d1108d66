"""One call of one agent."""
