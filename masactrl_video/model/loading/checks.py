"""Whether a folder holds a pipeline of a family that can be steered, and no code of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import Backbone
from masactrl_video.model.backbones.parts import Pipeline
from masactrl_video.model.backbones.registry import backbone_named, known_models
from masactrl_video.model.loading.location import NOT_LOADED, read_json


def check_beside(name: str, backbone: Backbone, pipeline: type[Pipeline], folder: Path) -> None:
    """See that the parts of a pipeline that have no weights lie in its folder.

    Raises:
        UserError: one of them does not.
    """
    for part, files in backbone.files.beside(pipeline).items():
        if not any((folder / part / file).is_file() for file in files):
            raise UserError(
                f"model {name!r}: its {part} is missing (no {' or '.join(files)} in {folder / part}); give the folder "
                "of a whole diffusers model"
            )


def pipeline_class(name: str, index: Path) -> tuple[Backbone, type[Pipeline]]:
    """The pipeline that a `model_index.json` names, and its family.

    Raises:
        UserError: no such file, or another pipeline.
    """
    if not index.is_file():
        raise UserError(
            f"model {name!r}: no {index.name} in {index.parent}; give the folder of a whole diffusers model"
        )
    parts = read_json(index, "model", name)
    found = parts.get("_class_name")
    backbone = backbone_named(found) if isinstance(found, str) else None
    if not isinstance(found, str) or backbone is None or found not in backbone.pipelines:
        raise UserError(f"model {name!r}: its pipeline is {found}; {known_models()}")
    pipeline = backbone.files.pipeline(found)
    _check_parts(name, parts, backbone, pipeline)
    return backbone, pipeline


def _check_parts(name: str, parts: dict[str, Any], backbone: Backbone, pipeline: type[Pipeline]) -> None:
    """See that every part of a pipeline is of a class that can be steered, and none of the model's own code."""
    networks = backbone.files.networks_in(pipeline, parts)
    for part, value in parts.items():
        library, kind = value if isinstance(value, list) and len(value) == 2 else (None, None)
        if library is None or part in NOT_LOADED:
            continue
        installed = {"diffusers", "transformers", *(one.__module__.partition(".")[0] for one in networks.values())}
        if str(library).partition(".")[0] not in installed:
            raise UserError(
                f"model {name!r}: its {part} is of {library!r}, code that comes with the model and is never run; take "
                "a model of diffusers' and transformers' own parts"
            )
        if part in networks and kind != networks[part].__name__:
            raise UserError(
                f"model {name!r}: its {part} is a {kind}, not a {networks[part].__name__}; take a model with one"
            )
        if part == "scheduler":
            backbone.files.check_scheduler(name, str(kind))
