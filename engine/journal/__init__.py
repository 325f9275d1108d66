"""What an attempt notes of its nodes, until a transaction writes it: steps, events, questions."""
