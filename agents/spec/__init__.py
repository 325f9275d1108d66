"""What an agent is, where its definition comes from, and what it may use."""
