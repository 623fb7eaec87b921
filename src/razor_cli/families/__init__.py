"""The model families: a folder each, in the same shape."""
