"""Labeled images, for training and evaluation."""
