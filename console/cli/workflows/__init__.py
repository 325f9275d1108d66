"""The commands that look at workflows."""
