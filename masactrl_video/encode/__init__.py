"""Video out: frames on disk become a video with the clip's times and sound."""
