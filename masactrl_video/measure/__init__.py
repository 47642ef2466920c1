"""Figures of any clip, ours or other people's: is it the same character, is it steady, does it follow the motion."""
