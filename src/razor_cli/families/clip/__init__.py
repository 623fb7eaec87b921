"""CLIP: a picture tower and a text tower with one space."""
