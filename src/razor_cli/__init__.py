"""razor-cli: make a vision model forget one concept, and prove it."""

__version__ = "0.1.0"
