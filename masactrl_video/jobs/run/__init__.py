"""The folder of a run: what may be written there, its lock, report and log."""
