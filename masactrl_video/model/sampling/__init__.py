"""Schedulers, one denoising step, inversion, and pictures to latents and back."""
