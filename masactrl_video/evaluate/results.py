"""Where a measurement's model comes from, and the three files that it leaves: table, values and pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masactrl_video.demo.folder import MODELS
from masactrl_video.errors import UserError
from masactrl_video.evaluate.measure import Measured
from masactrl_video.storage.replace import replacing
from masactrl_video.video.png import write_png


def model_folder(model: str, *parts: str) -> Path:
    """The folder of a model of the cartoon world: `demo`, `demo-dit`, or one that `masactrl_video.demo.export` wrote.

    Raises:
        UserError: one of the parts is not in it.
    """
    folder = MODELS.get(model, Path(model))
    if not all((folder / part).is_dir() for part in parts):
        raise UserError(
            f"{model}: not a model of the cartoon world; give demo, demo-dit, or a folder of masactrl_video.demo.export"
        )
    return folder


def result_files(folder: Path, names: Sequence[str], overwrite: bool) -> list[Path]:
    """The files of these names, before anything is measured.

    Raises:
        UserError: one is there already, and is not to be replaced.
    """
    files = [folder / name for name in names]
    for path in files:
        if path.exists() and not overwrite:
            raise UserError(f"{path}: it is there already; give another folder, or --overwrite to replace it")
    return files


def write_results(files: Sequence[Path], table: str, measured: Measured, sheet: NDArray[np.uint8]) -> None:
    """Write the table in Markdown, the values in JSON, and the picture sheet."""
    table_path, values_path, sheet_path = files
    sheet_path.parent.mkdir(parents=True, exist_ok=True)
    for path, text in ((table_path, table), (values_path, json.dumps(measured.values, indent=1) + "\n")):
        with replacing(path) as partial:
            partial.write_text(text, encoding="utf-8")
    write_png(sheet_path, sheet)
