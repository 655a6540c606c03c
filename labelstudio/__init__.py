"""Label Studio as a client sees it: formats, images, projects. Knows no server."""
