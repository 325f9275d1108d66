"""What commands and screens both show."""
