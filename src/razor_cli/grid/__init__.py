"""Experiments of many runs: points, plans, processes, estimates."""
