"""One dataclass for each kind of data: its settings, and the sets of a run that they make."""
