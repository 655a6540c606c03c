"""Label Studio from a client's side: label configs, tasks, annotations, images and projects. No server code."""
