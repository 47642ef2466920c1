"""What transformers on a flow have in common: joint attention opened up, packed latents, files, ControlNets."""
