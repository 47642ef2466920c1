"""PixArt-Sigma: a transformer with one layer for the picture and another for the text, on diffusion."""
