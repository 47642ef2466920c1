"""Clips measured: what a run's folder brings, with what it is measured, and the report."""
