"""Custom pipelines are loaded the way users load them, each in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SD-1.x as an ordinary diffusers folder."""
    folder = tmp_path_factory.mktemp("model")
    tiny_models.sd1_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def results_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """Run a script of this folder with some arguments; what it saved."""

    def run(script: str, *arguments: Path) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp("results")
        results = folder / "results.npz"
        subprocess.run(
            [sys.executable, Path(__file__).with_name(script), *arguments, results],
            cwd=ROOT,
            env={**os.environ, "HF_MODULES_CACHE": str(folder / "modules"), "PYTHONPATH": str(ROOT)},
            check=True,
        )
        return dict(np.load(results))

    return run
