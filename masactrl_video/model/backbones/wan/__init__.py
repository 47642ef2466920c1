"""Wan 2.1 and 2.2 as models of single pictures: a transformer for videos of one frame, on a flow."""
