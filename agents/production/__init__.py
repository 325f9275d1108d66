"""What must not reach production: test doubles, and text that nobody filled in."""
