"""Question sets for models that answer: MME, GQA, MMBench, and drawn sets of their shape."""
