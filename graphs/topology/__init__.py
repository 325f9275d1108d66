"""What follows from a graph's edges alone."""
