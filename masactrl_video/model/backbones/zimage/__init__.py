"""Z-Image: one stream of picture and caption, with rotary positions."""
