"""The images of tasks: fetching and decoding, both with limits."""
