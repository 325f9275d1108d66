"""Workers, and one attempt of one job."""
