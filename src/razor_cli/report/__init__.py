"""What a person is shown of one recorded run."""
