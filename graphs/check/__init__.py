"""Every mistake in a definition, found before anything runs."""
