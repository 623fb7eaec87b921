"""Run folders, their records, and where their numbers come from."""
