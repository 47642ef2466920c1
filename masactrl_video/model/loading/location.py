"""What the name of a model or network means: the demo, a local folder or file, or the id of a hub repository."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from masactrl_video.demo.folder import CONDITIONS, MODELS, TRAINING
from masactrl_video.errors import UserError
from masactrl_video.settings.home import at_home
from masactrl_video.settings.names import ships

PICKLES = {".ckpt", ".pt", ".pth", ".bin"}
"""Files that are unpickled when they are loaded, and can run code while they are."""

NOT_LOADED = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts of a pipeline that are left out."""

_MOST_HEADER_BYTES = 16 * 2**20
_MOST_JSON_BYTES = 16 * 2**20
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_GUIDES = [f"{kind}-{condition}" for kind in ("controlnet", "t2i-adapter") for condition in CONDITIONS]
_BESIDE = {"demo": [*_GUIDES, "keypoints", "taesd"], "demo-dit": ["controlnet-pose"]}
_DEMO = MODELS | {f"{model}/{name}": MODELS[model] / name for model, names in _BESIDE.items() for name in names}


def local_path(name: str, what: str) -> Path | None:
    """The folder or `.safetensors` file that `name` stands for; None where it is a hub id.

    Args:
        what: how messages call it, e.g. `model`.

    Raises:
        UserError: a path that does not exist, a pickle, or neither a path nor a hub id.
    """
    if ships(name):
        if name not in _DEMO:
            own = ", ".join(known for known in _DEMO if known.partition("/")[0] == name.partition("/")[0])
            raise UserError(f"{what} {name!r}: the demo has {own}; a local folder is written ./{name}")
        return _DEMO[name]
    path = Path(at_home(name))
    if path.suffix.lower() in PICKLES:
        raise UserError(f"{what} {name!r}: {_refusal([path.name])}")
    if path.is_dir():
        return path
    if path.is_file() and path.suffix.lower() == ".safetensors":
        check_header(path, what, name)
        return path
    if path.exists():
        raise UserError(f"{what} {name!r}: it is neither a folder nor a .safetensors file")
    if path.suffix.lower() == ".safetensors" or not _HUB_ID.fullmatch(name):
        raise UserError(
            f"{what} {name!r}: no such file or folder; give a diffusers folder, a .safetensors file, "
            "a hub id such as org/name, or demo"
        )
    return None


def check_safetensors(folder: Path, name: str, what: str, variant: str | None) -> str | None:
    """See that one component's folder holds its weights as safetensors, in the variant that was asked for.

    Returns:
        The variant to load: none where the folder has one kind of weights for all.

    Raises:
        UserError: only pickles, nothing, or other variants.
    """
    files = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    weights = [file for file in files if file.endswith(".safetensors")]
    pickles = [file for file in files if Path(file).suffix in PICKLES]
    if not weights and pickles:
        raise UserError(f"{what} {name!r}: in {folder} {_refusal(pickles)}")
    if not weights:
        raise UserError(f"{what} {name!r}: no .safetensors file in {folder}")
    for file in files:
        if file.endswith(".safetensors"):
            check_header(folder / file, what, name)
        elif file.endswith(".index.json") or ".safetensors.index." in file:
            _check_shards(folder / file, what, name)
    found = {_variant_of(file) for file in weights}
    if variant not in found and not (variant and None in found):
        raise UserError(
            f"{what} {name!r}: {folder} has no weights {f'of variant {variant!r}' if variant else 'without a variant'};"
            f" give variant {' or '.join(repr(v) for v in sorted(filter(None, found)))}"
        )
    return variant if variant in found else None


def check_header(path: Path, what: str, name: str) -> None:
    """See that a weight file's header is no larger than its file and than any real one, before it is read.

    Raises:
        UserError: it is (the format: 8 bytes with the header's length, the header as JSON, the tensors).
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > min(path.stat().st_size - 8, _MOST_HEADER_BYTES):
        raise UserError(
            f"{what} {name!r}: it cannot be loaded: {path.name} is no safetensors file, or cut off (the length of its "
            f"header is given as {length} bytes)"
        )


def read_json(path: Path, what: str, name: str) -> dict[str, Any]:
    """A model's configuration or index.

    Raises:
        UserError: it is absurdly large or deep, no JSON, or no object.
    """
    if path.stat().st_size > _MOST_JSON_BYTES:
        raise UserError(f"{what} {name!r}: {path.name} has more than {_MOST_JSON_BYTES} bytes, which no model's has")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{what} {name!r}: it cannot be loaded: {path.name} is not JSON that can be read ({error})"
        ) from error
    if not isinstance(values, dict):
        raise UserError(f"{what} {name!r}: {path.name} holds no JSON object")
    return values


def _check_shards(index: Path, what: str, name: str) -> None:
    """See that an index of weights in several files names files of its own folder."""
    files = read_json(index, what, name).get("weight_map")
    for file in set(map(str, files.values())) if isinstance(files, dict) else ():
        if Path(file).name != file or not file.endswith(".safetensors"):
            raise UserError(f"{what} {name!r}: {index.name} names {file!r}, which is no .safetensors file beside it")


def _variant_of(file: str) -> str | None:
    """`model.fp16.safetensors` and `model.fp16-00001-of-00002.safetensors` → `fp16`."""
    match = re.fullmatch(r"[^.]+\.(?P<variant>.+?)(-\d+-of-\d+)?\.safetensors", file)
    return match["variant"] if match else None


def _refusal(pickles: Iterable[str]) -> str:
    return (
        f"{', '.join(pickles)}: pickles can run code when they are loaded and are never opened; convert it where you "
        "trust it: load it with diffusers (from_pretrained, or from_single_file for a checkpoint), then "
        "pipe.save_pretrained(FOLDER) writes .safetensors"
    )


def is_of_cartoon_world(model: str) -> bool:
    """Whether a model has learnt nothing but the cartoon world, whose characters always face us."""
    folder = local_path(model, "model")
    return folder is not None and (folder / TRAINING).is_file()
