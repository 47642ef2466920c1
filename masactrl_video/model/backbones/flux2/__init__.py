"""FLUX.2: FLUX.1's layout of blocks with places of four axes, a language model, and an autoencoder of its own."""
