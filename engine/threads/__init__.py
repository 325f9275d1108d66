"""Threads as callers see them: found, read, edited, copied and deleted."""
