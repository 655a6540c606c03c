"""Which model answers, and how requests share it."""
