"""Networks in int8: which layers, what they lose, and whether that is within a limit."""
