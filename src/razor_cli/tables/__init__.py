"""One definition per table of the papers."""
