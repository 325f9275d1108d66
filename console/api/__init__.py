"""The HTTP API: what `ucop serve` answers."""
