"""Stable Diffusion's UNet: its attention layers by name, and what is changed on it for the time of a call."""
