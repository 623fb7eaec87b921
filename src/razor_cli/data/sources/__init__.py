"""One file per source of pictures."""
