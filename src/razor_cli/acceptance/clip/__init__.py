"""Checks of real CLIP weights."""
