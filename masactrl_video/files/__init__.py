"""What keeps files whole and processes apart, whatever is in them."""
