"""Named tensors per denoising step, kept on disk under a fingerprint of everything that determined them.

`store` writes and reads entries, `manage` lists, verifies and prunes them, `fingerprint` names them.
An entry is a folder `<root>/<fingerprint>` with one safetensors file per step (`step-0004.safetensors`), further
safetensors files by name, and `index.json`. It is written under a hidden name beside its place and renamed when whole.
"""
