"""Sprites of rendered frames: cut out, stood on one line, given one palette, put on a sheet, described for games."""
