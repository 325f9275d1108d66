"""The forms of the terminal console."""
