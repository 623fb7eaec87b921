"""Diffusion models: Stable Diffusion 1.5 and 3, and stand-ins that are laid out like them."""
