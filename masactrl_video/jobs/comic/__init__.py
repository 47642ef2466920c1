"""Making a comic: its characters recorded, its panels rendered, its pages written."""
