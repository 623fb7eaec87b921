"""What families with two towers and one shared space have in common."""
