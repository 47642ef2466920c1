"""The example of the Python API, run as a user would."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from PIL import Image

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "use_source.py"


def test_it_saves_source_and_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_models.sd1_pipeline().save_pretrained(tmp_path / "model")
    command = [sys.executable, SCRIPT, tmp_path / "out", "--model", tmp_path / "model", "--num-inference-steps", "6"]
    subprocess.run(command, check=True, cwd=SCRIPT.parents[1])
    source, target = (np.asarray(Image.open(tmp_path / "out" / f"{name}.png")) for name in ("source", "target"))
    assert source.shape == target.shape == (128, 128, 3)
    assert (source != target).any()
    monkeypatch.setattr(sys, "argv", list(map(str, command[1:])))
    with pytest.raises(FileExistsError):
        runpy.run_path(str(SCRIPT), run_name="__main__")
