"""Characters of FLUX.2 klein-kv: a picture's reference, kept once, stands beside every frame of every command."""

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


@pytest.fixture(scope="module")
def pipe() -> Any:
    own = Flux2KleinKVPipeline(**tiny_families.flux2_klein_pipeline().components)
    own.set_progress_bar_config(disable=True)
    return own


@pytest.fixture(scope="module")
def home(pipe: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a clip, two pictures, and the first of them as the character hero."""
    root = tmp_path_factory.mktemp("klein")
    pipe.save_pretrained(root / "model")
    (root / "clip").mkdir()
    for number, name in enumerate(("clip/0.png", "clip/1.png", "hero.png", "villain.png")):
        size = (64, 64) if number < 2 else (70, 80)
        pixels = np.random.default_rng(number).integers(0, 255, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)
    for name in ("hero", "villain"):
        assert kept(root, "source make", name, "--source-image", str(root / f"{name}.png")) == 0
    return root


def kept(root: Path, command: str, *more: str, model: str | None = None) -> int:
    places = ["--characters-dir", str(root / "characters"), "--cache-dir", str(root / "cache")]
    steps = ["--num-inference-steps", "2", "--scheduler", "flow", "--guidance-scale", "1"]
    return main([*command.split(), *more, "--model", model or str(root / "model"), *places, *steps])


def plain(pipe: Any, prompt: str, pictures: list[str], root: Path, steps: int = 2) -> np.ndarray:
    """diffusers' own pipeline, given the pictures; from noise of seed 0 as the commands have it."""
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    images = [Image.open(root / "characters" / name / "picture.png") for name in pictures]
    out = pipe(
        prompt=prompt, height=64, width=64, num_inference_steps=steps, latents=pipe._patchify_latents(noise),
        image=images or None, max_sequence_length=64, output_type="np",
    ).images[0]  # fmt: skip
    return (out * 255).round()


def frames_of(folder: Path) -> list[np.ndarray]:
    return [read_png(path).astype(float) for path in sorted((folder / "frames").glob("*.png"))]


def test_a_clip_is_rendered_as_the_pipeline_draws_it_with_the_picture(
    home: Path, pipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = ["render", str(home / "clip"), "-o", str(tmp_path / "out.mp4")]
    assert kept(home, *clip, "--character", "hero", "--prompt", "a bear", *SIZE, "--guidance") == 0
    frames = frames_of(tmp_path / "out")
    assert len(frames) == 2
    assert np.array_equal(*frames)
    own, without = plain(pipe, "a bear", ["hero"], home), plain(pipe, "a bear", [], home)
    assert np.abs(frames[0] - own).max() <= 1
    assert np.abs(frames[0] - without).max() > 3
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["controlled_layers"] == []
    assert "stands beside every frame from step 0 on" in (tmp_path / "out" / "log.txt").read_text()
