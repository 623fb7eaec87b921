"""The verbs of `razor`, one file each."""
