"""Images with their labels: what is trained on and measured against."""
