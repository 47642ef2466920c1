"""Guidance of FLUX.2 by reference pictures: each frame's picture beside it, as diffusers' own pipeline takes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_families
import torch
from diffusers import Flux2KleinKVPipeline
from PIL import Image

from masactrl_video.cli.main import main
from masactrl_video.video.png import read_png

SIZE = ["--width", "64", "--height", "64"]
STEPS = ["--num-inference-steps", "3", "--scheduler", "flow"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of FLUX.2, and poses of two frames."""
    root = tmp_path_factory.mktemp("flux2")
    klein = tiny_families.flux2_klein_pipeline()
    klein.save_pretrained(root / "klein")
    tiny_families.pipeline("flux2-dev").save_pretrained(root / "dev")
    kv = Flux2KleinKVPipeline(**klein.components)
    kv.save_pretrained(root / "kv")

    def pose(right: int) -> dict[str, Any]:
        points = [(8 + right + 3 * (number % 5), 6 + 3 * number, 1) for number in range(18)]
        flat = [float(value) for point in points for value in point]
        return {"people": [{"pose_keypoints_2d": flat}], "canvas_width": 64, "canvas_height": 64}

    (root / "poses.json").write_text(json.dumps([pose(0), pose(20)]))
    return root


def run(root: Path, command: list[str], model: str, *more: str) -> int:
    places = ["--characters-dir", str(root / "characters"), "--cache-dir", str(root / "cache")]
    return main([*command, "--model", str(root / model), *STEPS, *places, *more])


def animated(root: Path, out: Path, model: str, *more: str) -> list[np.ndarray]:
    animate = ["animate", str(root / "poses.json"), "-o", str(out), "--prompt", "a bear", *SIZE]
    assert run(root, animate, model, "--reference-picture", "pose", *more) == 0
    return [read_png(path).astype(float) for path in sorted((out.with_suffix("") / "frames").glob("*.png"))]


def plain(root: Path, model: str, pictures: list[Path], scale: float = 1.0) -> np.ndarray:
    pipe = {
        "klein": lambda: tiny_families.flux2_klein_pipeline(),
        "dev": lambda: tiny_families.pipeline("flux2-dev"),
        "kv": lambda: Flux2KleinKVPipeline(**tiny_families.flux2_klein_pipeline().components),
    }[model]()
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    own = {} if model == "kv" else {"guidance_scale": scale}
    out = pipe(
        prompt="a bear", height=64, width=64, num_inference_steps=3, latents=pipe._patchify_latents(noise),
        image=[Image.open(path) for path in pictures] or None, max_sequence_length=64, output_type="np", **own,
    ).images[0]  # fmt: skip
    return (out * 255).round()


@pytest.mark.parametrize(("model", "scale"), [("klein", 3.0), ("dev", 3.5), ("kv", 1.0)])
def test_a_frame_past_the_end_of_control_is_the_pipelines_own_with_its_skeleton(
    home: Path, tmp_path: Path, model: str, scale: float
) -> None:
    """Of every kind of FLUX.2, with both kinds of guidance."""
    more = ["--masa-steps", "--masa-layer", "0", "--guidance-scale", str(scale)]
    frames = animated(home, tmp_path / "out.mp4", model, *more)
    skeletons = sorted((tmp_path / "out").glob("*pose*/*.png"))
    assert len(frames) == len(skeletons) == 2
    for frame, skeleton in zip(frames, skeletons, strict=True):
        assert np.abs(frame - plain(home, model, [skeleton], scale)).max() <= 1  # frames pass in batches
    assert np.abs(frames[0] - frames[1]).max() > 3
    assert np.abs(frames[0] - plain(home, model, [], scale)).max() > 3


@pytest.mark.long
def test_a_source_and_a_kept_character_act_beside_the_skeleton(home: Path, tmp_path: Path) -> None:
    """Mutual self-attention goes on as it does with a ControlNet; klein-kv's character stands beside the skeleton."""
    controlled = ["--masa-step", "0", "--masa-layer", "0"]
    frames = animated(home, tmp_path / "own.mp4", "klein", *controlled)
    past = animated(home, tmp_path / "past.mp4", "klein", "--masa-steps", "--masa-layer", "0")
    attention = json.loads((tmp_path / "own" / "report.json").read_text())["render"]["attention"]
    assert attention["controlled_attention_calls"] == attention["expected_attention_calls"] > 0
    assert np.abs(frames[1] - past[1]).max() > 3
    moved = animated(home, tmp_path / "moved.mp4", "klein", *controlled, "--source-positions", "pose")
    assert np.abs(moved[0] - frames[0]).max() <= 1
    assert np.abs(moved[1] - frames[1]).max() > 3
    pixels = np.random.default_rng(3).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "hero.png")
    assert run(home, ["source", "make", "hero", "--source-image", str(tmp_path / "hero.png")], "kv") == 0
    both = animated(home, tmp_path / "both.mp4", "kv", "--character", "hero", "--guidance-scale", "1")
    alone = plain(home, "kv", [tmp_path / "hero.png"])
    assert np.abs(both[0] - both[1]).max() > 3
    assert np.abs(both[0] - alone).max() > 3


@pytest.mark.parametrize(
    ("model", "more", "said"),
    [
        ("demo", ["--reference-picture", "pose"], "reads no reference pictures (FLUX.2 does); name a ControlNet"),
        ("klein", ["--controlnet", "pose=demo/controlnet-pose"], "give --reference-picture pose instead"),
        ("klein", ["--guidance", "depth"], "and --reference-picture depth has FLUX.2 itself read the pictures"),
        (
            "klein",
            ["--reference-picture", "pose", "--controlnet-conditioning-scale", "0.5"],
            "adapter reference: the model itself reads the pictures, so there is no network and no scale",
        ),
        (
            "klein",
            ["--reference-picture", "pose", "--controlnet", "pose=demo/controlnet-pose"],
            "--reference-picture: 'pose' was given a network too; name one way",
        ),
    ],
)
def test_what_guidance_cannot_be_is_said_in_one_line(
    home: Path, tmp_path: Path, model: str, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    animate = ["animate", str(home / "poses.json"), "-o", str(tmp_path / "o.mp4"), "--prompt", "a bear", *SIZE]
    own = [str(home / model) if model != "demo" else "demo", *STEPS] if model != "demo" else ["demo"]
    assert main([*animate, "--model", *own, "--cache-dir", str(home / "cache"), *more]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert "Traceback" not in errors
