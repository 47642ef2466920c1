"""What is particular to an architecture, one folder each."""
