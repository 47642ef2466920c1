"""Attention modes: how the tokens of a frame attend to its sources, one object for each way."""
