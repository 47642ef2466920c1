"""Guidance: one picture (pose, canny) per frame of a clip, made, given ready-made, kept in a folder and read lazily."""
