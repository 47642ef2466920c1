"""FLUX.1's transformer: its joint attention by name, packed latents, and prompts by two text encoders."""
