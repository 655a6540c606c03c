"""Training runs on a project's annotations, and the trained versions on disk."""
