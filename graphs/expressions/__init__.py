"""Expressions over the state, and texts with `${…}` in them."""
