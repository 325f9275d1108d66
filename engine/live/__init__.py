"""What running jobs emit, for whoever follows them."""
