"""Predictions: which model a project uses, and how requests share it."""
