"""A loaded model, and what is read off it."""
