"""A name or a path in, a checked diffusers pipeline with its networks and adapters out."""
