"""Workflows as the job layer sees them, and where they are found."""
