"""A small model of a cartoon world that ships with the package, and the world itself."""
