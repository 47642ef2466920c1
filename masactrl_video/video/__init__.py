"""Video in: clips as a stream of frames with their own times, fitting frames to a size, and pictures on disk."""
