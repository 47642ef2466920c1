"""Settings and presets, checked and frozen."""
