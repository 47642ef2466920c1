"""Mutual self-attention: what is recorded of a source, and how a frame queries it."""
