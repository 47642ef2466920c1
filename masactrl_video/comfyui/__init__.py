"""Nodes for ComfyUI, thin over the same arithmetic, recorder and cache.

`nodes` needs ComfyUI; everything else here works, and is tested, without it.
"""
