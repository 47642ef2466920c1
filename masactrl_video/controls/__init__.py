"""Control images: one picture (pose, canny, given) for each frame of a clip, made, kept in a folder and read lazily."""
