"""Metrics as pure functions of features, with intervals."""
