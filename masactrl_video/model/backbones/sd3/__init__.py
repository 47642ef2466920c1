"""Stable Diffusion 3 and 3.5: joint attention without rotary positions, in 3.5 medium beside the picture's own."""
