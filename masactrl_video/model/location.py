"""What the name of a model or network means: the demo, a local folder or file, or the id of a hub repository."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from masactrl_video.demo.folder import CONDITIONS, WEIGHTS
from masactrl_video.errors import UserError

PICKLES = {".ckpt", ".pt", ".pth", ".bin"}
"""Files that are unpickled when they are loaded, and can run code while they are."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_DEMO = {"demo": WEIGHTS} | {
    f"demo/{kind}-{condition}": WEIGHTS / f"{kind}-{condition}"
    for kind in ("controlnet", "t2i-adapter")
    for condition in CONDITIONS
}
_DEMO |= {"demo/keypoints": WEIGHTS / "keypoints"}


def local_path(name: str, what: str) -> Path | None:
    """The folder or `.safetensors` file that `name` stands for; None where it is a hub id.

    Args:
        what: how messages call it, e.g. `model`.

    Raises:
        UserError: a path that does not exist, a pickle, or neither a path nor a hub id.
    """
    if name == "demo" or name.startswith("demo/"):
        if name not in _DEMO:
            raise UserError(f"{what} {name!r}: the demo has {', '.join(_DEMO)}; a local folder is written ./{name}")
        return _DEMO[name]
    path = Path(name).expanduser()
    if path.suffix.lower() in PICKLES:
        raise UserError(f"{what} {name!r}: {_refusal([path.name])}")
    if path.is_dir() or (path.is_file() and path.suffix.lower() == ".safetensors"):
        return path
    if path.exists():
        raise UserError(f"{what} {name!r}: it is neither a folder nor a .safetensors file")
    if path.suffix.lower() == ".safetensors" or not _HUB_ID.fullmatch(name):
        raise UserError(
            f"{what} {name!r}: no such file or folder; give a diffusers folder, a .safetensors file, "
            "a hub id such as org/name, or demo"
        )
    return None


def check_safetensors(folder: Path, name: str, what: str, variant: str | None) -> None:
    """See that one component's folder holds its weights as safetensors, in the variant that was asked for.

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
    found = {_variant_of(file) for file in weights}
    if variant not in found and not (variant and None in found):
        raise UserError(
            f"{what} {name!r}: {folder} has no weights {f'of variant {variant!r}' if variant else 'without a variant'};"
            f" give variant {' or '.join(repr(v) for v in sorted(filter(None, found)))}"
        )


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
