"""Locks, fingerprints, and files that are on the disk when they are said to be."""
