"""What families, methods and the engine promise one another."""
