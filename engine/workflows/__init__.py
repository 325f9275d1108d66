"""Workflows that this process knows, and jobs made of them."""
