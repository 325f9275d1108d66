"""The screens of the terminal console."""
