"""HTTP: the routes, how they are served, what is counted and logged."""
