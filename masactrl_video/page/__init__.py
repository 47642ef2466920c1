"""Comic pages: where panels lie, what is written on them, and pages as files."""
