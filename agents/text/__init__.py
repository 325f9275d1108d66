"""Texts and their parts: templates, schemas, durations, places in a file."""
