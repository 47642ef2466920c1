"""The source: planned, generated or inverted, recorded, or a saved character."""
