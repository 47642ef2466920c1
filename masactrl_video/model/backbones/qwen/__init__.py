"""Qwen-Image: joint attention with rotary positions around the middle of the picture, and an autoencoder for videos."""
