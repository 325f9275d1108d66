"""A workflow drawn with text."""
