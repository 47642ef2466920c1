"""Frames against the recorded source, chunk by chunk."""
