"""Chat models by name: one request, its retries, its cost."""
