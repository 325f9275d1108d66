"""The commands that look at jobs and change them."""
