"""Weights on disk and in memory: checkpoints, patches, quantization."""
