"""A package of somebody else adds a backbone and a control; `render` uses them in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import masactrl_video
from masactrl_video.controls.added import AddedGuidance
from masactrl_video.demo.folder import WEIGHTS
from masactrl_video.errors import UserError
from masactrl_video.video.png import read_png, write_png

OUTSIDE = Path(__file__).parent / "outside_package"
FRAMES = 2

_RENDERS = """
import json, sys
from masactrl_video.cli.main import main
sys.exit(max(main(["render", *words]) for words in json.loads(sys.argv[1])))
"""


def negative_model(folder: Path) -> Path:
    """The demo model under the class names of the outside package."""
    folder.mkdir()
    for part in WEIGHTS.iterdir():
        if part.name not in ("unet", "model_index.json"):
            (folder / part.name).symlink_to(part)
    (folder / "unet").mkdir()
    weights = "diffusion_pytorch_model.safetensors"
    (folder / "unet" / weights).symlink_to(WEIGHTS / "unet" / weights)
    index = json.loads((WEIGHTS / "model_index.json").read_text())
    index |= {"_class_name": "NegativePipeline", "unet": ["masactrl_outside.backbone", "NegativeUNet"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    config = json.loads((WEIGHTS / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps(config | {"_class_name": "NegativeUNet"}))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where three renders of one clip are: plain, by the added family, by the added control."""
    made = tmp_path_factory.mktemp("outside")
    (made / "clip").mkdir()
    for number in range(FRAMES):
        write_png(
            made / "clip" / f"{number}.png", np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)
        )
    few = ["--num-inference-steps", "2", "--masa-step", "0", "--width", "64", "--height", "64"]
    model = str(negative_model(made / "model"))
    renders = [
        ["clip", "-o", "plain.mp4", *few],
        ["clip", "-o", "negative.mp4", *few, "--model", model],
        ["clip", "-o", "bright.mp4", *few, "--controlnet", "brightness=demo/controlnet-canny"],
    ]
    environment = {
        "PYTHONPATH": os.pathsep.join([str(Path(masactrl_video.__file__).parents[1]), str(OUTSIDE)]),
        "MASACTRL_VIDEO_CACHE": str(made / "cache"),
        "HF_HUB_OFFLINE": "1",
    }
    words = [sys.executable, "-c", _RENDERS, json.dumps(renders)]
    ran = subprocess.run(words, cwd=made, env={**os.environ, **environment}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return made


def frames(folder: Path, name: str) -> list[np.ndarray]:
    (made,) = folder.glob(f"{name}*/frames")
    return [read_png(made / f"{number:06d}.png") for number in range(FRAMES)]


def test_an_added_family_renders_by_its_own_backbone(folder: Path) -> None:
    for plain, negative in zip(frames(folder, "plain"), frames(folder, "negative"), strict=True):
        assert np.abs(plain.astype(int) + negative - 255).max() <= 1
        assert plain.std() > 1


def test_an_added_control_draws_what_the_network_reads(folder: Path) -> None:
    (pictures,) = folder.glob("bright*/guidance-brightness")
    for number in range(FRAMES):
        clip, picture = read_png(folder / "clip" / f"{number}.png"), read_png(pictures / f"{number:06d}.png")
        assert np.array_equal(picture, np.repeat(clip.max(axis=2, keepdims=True), 3, axis=2))
    assert not np.array_equal(frames(folder, "bright")[0], frames(folder, "plain")[0])


class _Picks:
    """A control that makes pictures of some frames."""

    provenance = None

    def __init__(self, taken: slice, size: int = 8) -> None:
        self.taken, self.size = taken, size

    def pictures(self, frames: object) -> list[np.ndarray]:
        return [frame[: self.size] for frame in list(frames)[self.taken]]


@pytest.mark.parametrize(
    ("control", "message"),
    [
        (_Picks(slice(1, None)), "'rows': 2 pictures came of 3 frames"),
        (_Picks(slice(None), 4), r"'rows': picture 0 is uint8 \(4, 8, 3\), but frames are uint8 \(8, 8, 3\)"),
    ],
)
def test_pictures_that_do_not_go_with_the_frames_are_refused(control: _Picks, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(AddedGuidance("rows", control)([np.zeros((8, 8, 3), np.uint8)] * 3))
