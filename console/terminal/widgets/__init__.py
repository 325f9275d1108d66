"""Lists and trees that draw only what is in sight."""
