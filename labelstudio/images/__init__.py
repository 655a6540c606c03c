"""The images of tasks: fetched within limits, decoded within limits."""
