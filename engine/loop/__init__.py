"""The engine's own event loop: its thread, what blocks it, and stopping what runs on it."""
