"""Other methods that `compare` sets beside mutual self-attention: Prompt-to-Prompt and Plug-and-Play."""
