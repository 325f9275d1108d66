"""What commands and screens show of jobs."""
