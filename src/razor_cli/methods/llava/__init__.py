"""Methods for models that answer questions."""
