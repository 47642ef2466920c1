"""Whether model files are on this machine, without asking the hub and without loading them."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache

from masactrl_video.errors import UserError
from masactrl_video.model.loading.location import NOT_LOADED, check_safetensors, local_path, read_json

_WITHOUT_WEIGHTS = ("Tokenizer", "TokenizerFast", "Scheduler", "Processor")
"""How the classes of such parts are called."""


def find_pipeline(name: str, variant: str | None = None, revision: str | None = None) -> Path:
    """The folder or file of a whole model.

    Raises:
        UserError: it is not here, or not whole; the places that were looked in are named.
    """
    path = local_path(name, "model")
    if path is not None and path.is_file():
        return path
    folder = path or _downloaded(name, "model_index.json", "model", revision)
    index = folder / "model_index.json"
    if not index.is_file():
        raise UserError(f"model {name!r}: no {index.name} in {folder}; give the folder of a whole diffusers model")
    for part, value in read_json(index, "model", name).items():
        kind = value[-1] if isinstance(value, list) and value and part not in NOT_LOADED else None
        if isinstance(kind, str) and not part.startswith("_") and not kind.endswith(_WITHOUT_WEIGHTS):
            check_safetensors(folder / part, name, "model", variant)
    return folder


def find_network(name: str, kind: str, variant: str | None = None, revision: str | None = None) -> Path:
    """The folder or file of a ControlNet or T2I-Adapter. Raises UserError as `find_pipeline` does."""
    path = local_path(name, kind)
    if path is not None and path.is_file():
        return path
    folder = path or _downloaded(name, "config.json", kind, revision)
    check_safetensors(folder, name, kind, variant)
    return folder


def find_pose_detector(name: str) -> Path:
    """The `.onnx` network, or the folder of controlnet_aux's weights. Raises UserError as `find_pipeline` does."""
    path = Path(name)
    if path.suffix == ".onnx" and not path.is_file():
        raise UserError(f"pose detector {name!r}: no such file")
    return path if path.exists() else _downloaded(name, "body_pose_model.pth", "pose detector", None)


def _downloaded(name: str, file: str, what: str, revision: str | None) -> Path:
    found = try_to_load_from_cache(name, file, revision=revision)
    if isinstance(found, str):
        return Path(found).parent
    raise UserError(
        f"{what} {name!r}: no such local folder, and not among the downloads in {constants.HF_HUB_CACHE}; it is "
        f"downloaded when it is first used, or now by `hf download {name}`"
    )
