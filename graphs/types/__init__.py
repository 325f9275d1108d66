"""What is known of values before they are there, and values as declared types."""
