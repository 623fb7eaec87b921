"""Options that several commands have."""

CHECK = "hold every byte of every run against its DONE, and make the index anew"
