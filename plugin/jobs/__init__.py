"""The long jobs: one iterator each."""
