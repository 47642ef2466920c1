"""Skeletons: read, detected, tracked, repaired, retargeted, tweened and drawn."""
