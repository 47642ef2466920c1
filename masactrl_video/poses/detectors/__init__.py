"""Networks that find people in a picture, behind one interface."""
