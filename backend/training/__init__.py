"""Training runs on a project's annotations, and the versions they leave."""
