"""Acceptance of a model: does a checkpoint, as this project loads and edits it, behave as is
published of it?
"""
