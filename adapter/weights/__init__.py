"""Weights: by name, from files, downloaded."""
