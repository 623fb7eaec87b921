"""Stable Diffusion 1.5 and 3: models that draw what a prompt says."""
