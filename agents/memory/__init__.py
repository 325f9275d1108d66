"""What agents remember beyond one job."""
