"""What was measured as a page, as data, and as lines."""
