"""Weights that a repository holds only as .bin, as safetensors: `convert_to_safetensors.py FOLDER_IN FOLDER_OUT`.

FOLDER_IN is the folder of one network: config.json and its .bin. A .bin is a pickle, which the package itself never
opens; here it is read with `weights_only=True`, which takes tensors and refuses code.
"""

import pickle
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

if len(sys.argv) != 3:
    sys.exit(__doc__)
source, target = Path(sys.argv[1]), Path(sys.argv[2])
binaries = sorted(source.glob("*.bin"))
if target.exists():
    sys.exit(f"{target} exists; name a folder that does not")
if not binaries or not (source / "config.json").is_file():
    sys.exit(f"{source}: it does not hold config.json and a .bin; give the folder of one network")
if any(source.glob("*.bin.index.json")):
    sys.exit(f"{source}: its weights are split over several .bin; only whole ones can be converted")
target.parent.mkdir(parents=True, exist_ok=True)
with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
    whole = Path(temporary) / target.name  # takes its place when it is complete
    whole.mkdir()
    shutil.copyfile(source / "config.json", whole / "config.json")
    for path in binaries:
        try:
            weights = torch.load(path, map_location="cpu", weights_only=True)
            tensors = {name: tensor.clone().contiguous() for name, tensor in weights.items()}  # none share memory
        except (pickle.UnpicklingError, EOFError, RuntimeError, AttributeError) as error:
            sys.exit(f"{path}: it must hold tensors by name and nothing else: {str(error).partition(chr(10))[0]}")
        name = path.name.removeprefix("pytorch_").removesuffix(".bin")  # transformers: pytorch_model.bin
        save_file(tensors, whole / f"{name}.safetensors", metadata={"format": "pt"})
    whole.rename(target)
