"""Chroma: FLUX.1's blocks with one text encoder, real guidance, and a text of which only a part counts in full."""
