"""The workflow language: reading, writing, and its schema."""
