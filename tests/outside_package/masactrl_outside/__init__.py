"""A package of somebody else: adds a backbone, a mode, a control and a pose detector, one file each."""
