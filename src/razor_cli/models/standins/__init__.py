"""Weights of the embedded stand-in models, with their cards."""
