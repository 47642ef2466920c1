"""How the demo model is trained; nothing here is needed to use it."""
