"""The typed configuration: schemas, checks, and the words of a command line."""
