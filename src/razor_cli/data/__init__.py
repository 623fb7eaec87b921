"""Concept data: sources of labelled pictures, prompts, and the disjoint sets an edit needs."""
