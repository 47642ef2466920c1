"""Figures that say whether the method works, from the cartoon world, where the right answer is known."""
