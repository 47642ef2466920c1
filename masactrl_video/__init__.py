"""Consistent video frames from an image diffusion model, without training (MasaCtrl, arXiv 2304.08465)."""

__version__ = "0.1.0"
