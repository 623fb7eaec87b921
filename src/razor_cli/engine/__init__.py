"""Gradients, saliency, step search and caches: what every method shares."""
