"""Characters of FLUX.2 klein-kv: a picture's reference, kept once, stands beside every frame of every command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_families
import torch
from diffusers import Flux2KleinKVPipeline
from PIL import Image

from masactrl_video.cli.main import main
from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.render.executor import LocalExecutor
from masactrl_video.render.plan import RenderPlan
from masactrl_video.render.worker import run_chunk
from masactrl_video.settings.presets import resolve
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
    return main([*command.split(), "--model", model or str(root / "model"), *places, *steps, *more])


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


def test_it_holds_for_other_steps_sizes_and_prompts_and_after_export_and_import(
    home: Path, pipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ["--characters-dir", str(home / "characters")]
    assert main(["source", "export", "hero", "-o", str(tmp_path / "hero.zip"), *places]) == 0
    assert main(["source", "import", str(tmp_path / "hero.zip"), "--name", "again", *places]) == 0
    assert main(["source", "show", "again", *places]) == 0
    assert "a reference: 4 layers x 20 tokens in float32" in capsys.readouterr().out
    clip = ["render", str(home / "clip"), "-o", str(tmp_path / "out.mp4"), "--frame-load-cap", "1", "--guidance"]
    more = ["--character", "again", "--prompt", "a frog in the snow", "--width", "96", "--height", "64"]
    assert kept(home, *clip, *more, "--num-inference-steps", "3") == 0
    noise = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    own = pipe(
        prompt="a frog in the snow", height=64, width=96, num_inference_steps=3, max_sequence_length=64,
        latents=pipe._patchify_latents(noise), image=Image.open(home / "characters" / "hero" / "picture.png"),
        output_type="np",
    ).images[0]  # fmt: skip
    assert np.abs(frames_of(tmp_path / "out")[0] - (own * 255).round()).max() <= 1


@pytest.mark.long
def test_several_are_joined_in_their_order_in_clips_stills_and_panels(home: Path, pipe: Any, tmp_path: Path) -> None:
    found = {}
    for name, who in {"one": ["hero"], "two": ["hero", "villain"], "other": ["villain", "hero"]}.items():
        more = ["--character", who[0], *(["--references", *who[1:]] if who[1:] else [])]
        still = ["synthesize", "-o", str(tmp_path / name), "--prompt", "a bear", *SIZE, "--guidance", *more]
        assert kept(home, *still) == 0
        found[name] = read_png(tmp_path / name / "target-1.png").astype(float)
    assert np.abs(found["one"] - plain(pipe, "a bear", ["hero"], home)).max() <= 1
    assert np.abs(found["two"] - found["one"]).max() > 3
    model = f"model: {home / 'model'}, num_inference_steps: 2, scheduler: flow, guidance_scale: 1, masa_layer: 2"
    (tmp_path / "story.yaml").write_text(f"""
settings: {{{model}, masa_step: 0, mask_grid_divisor: 2}}
characters:
  hero: {{source: hero, words: [a]}}
  villain: {{source: villain, words: [bear]}}
panels:
  - {{prompt: a bear, size: [64, 64], characters: [hero, villain]}}
""")
    places = ["--characters-dir", str(home / "characters"), "--cache-dir", str(home / "cache")]
    assert main(["comic", str(tmp_path / "story.yaml"), "-o", str(tmp_path / "page.png"), *places]) == 0
    panel = read_png(tmp_path / "page" / "panels" / "001.png")
    assert np.abs(panel.astype(float) - found["two"]).max() <= 1


@pytest.mark.parametrize("source", ["hero", None])
def test_a_plan_is_rendered_by_whoever_has_it(home: Path, tmp_path: Path, source: str | None) -> None:
    """By another process too: from JSON, with what it names in the cache; beside a generated source as well."""
    plans: list[RenderPlan] = []

    @contextmanager
    def seen(plan: RenderPlan, job: Any, progress: Any) -> Iterator[Any]:
        plans.append(RenderPlan.from_json(plan.to_json()))
        with LocalExecutor(plan, job, progress) as executor:
            yield executor

    said = {"clip": str(home / "clip"), "character": source, "references": ["villain"], "prompt": "a bear"}
    said |= {"width": 64, "height": 64, "guidance": [], "model": str(home / "model"), "scheduler": "flow"}
    said |= {
        "num_inference_steps": 2,
        "guidance_scale": 1.0,
        "noise": "per-frame",
        "characters_dir": home / "characters",
    }
    settings = resolve({"masa_step": 1, "masa_layer": 0, "cache_dir": str(home / "cache")}, said)
    render_clip(settings, tmp_path / "out.mp4", executor=seen)
    own = frames_of(tmp_path / "out")
    for path in (tmp_path / "out" / "frames").glob("*.png"):
        path.unlink()
    for chunk in plans[0].chunks:
        run_chunk(plans[0], chunk)
    again = frames_of(tmp_path / "out")
    assert all(np.array_equal(*pair) for pair in zip(own, again, strict=True))
    assert not np.array_equal(*own)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--character", "hero", "--model", "demo"], "this model (Stable Diffusion 1.x, 2.x and XL) takes none: take"),
        (["--character", "hero", "--dtype", "bfloat16"], "by other weights, LoRAs or number format than this model's"),
        (
            ["--character", "hero", "--attention-mode", "union"],
            "attention_mode: got 'union'; character 'hero' is a ref",
        ),
        (["--character", "hero", "--hold-colours", "1"], "hold_colours: got 1.0; character 'hero' is a reference"),
        (["--character", "hero", "--references", "hero"], "references: 'hero' is named twice"),
        (["--references", "hero", "--model", "demo"], "this model (Stable Diffusion 1.x, 2.x and XL) takes none: take"),
        (["--character", "hero", "--references", "nobody"], "character 'nobody': there is none of that name"),
        (
            ["--source-at", "0=generated", "--source-at", "1=hero"],
            "sources, frame 1: character 'hero' is a reference, which every",
        ),
        (["--character", "hero", "--guidance-scale", "3"], "this model was distilled to go without guidance"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_what_does_not_go_together_is_said_in_one_line(
    home: Path, tmp_path: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    render = ["render", str(home / "clip"), "-o", str(tmp_path / "o.mp4"), "--prompt", "a bear", *SIZE, "--guidance"]
    assert kept(home, *render, *more) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "o.mp4").exists()


def test_a_character_can_be_drawn_by_the_model_first(home: Path, pipe: Any, tmp_path: Path) -> None:
    assert kept(home, "source make", "drawn", "--prompt", "a bear", *SIZE) == 0
    picture = read_png(home / "characters" / "drawn" / "picture.png").astype(float)
    assert np.abs(picture - plain(pipe, "a bear", [], home)).max() <= 1
    recipe = json.loads((home / "characters" / "drawn" / "character.json").read_text())["recipe"]
    assert (recipe["kind"], recipe["prompt"], recipe["reference"]["tokens"]) == ("reference", "a bear", 16)


def test_a_picture_is_edited_beside_a_character(home: Path, tmp_path: Path) -> None:
    """The picture is inverted and followed as with any model, and the character's reference stands beside it."""
    found = {}
    for name, more in {"alone": [], "beside": ["--references", "hero"]}.items():
        edit = ["edit", str(home / "clip" / "0.png"), "-o", str(tmp_path / name), "--prompt", "a bear", *SIZE, *more]
        places = ["--characters-dir", str(home / "characters"), "--cache-dir", str(home / "cache")]
        steps = ["--num-inference-steps", "2", "--guidance-scale", "1", "--masa-step", "1", "--masa-layer", "2"]
        assert main([*edit, "--model", str(home / "model"), *places, *steps]) == 0
        found[name] = [read_png(tmp_path / name / f"{one}.png").astype(float) for one in ("source", "target-1")]
    assert np.array_equal(found["alone"][0], found["beside"][0])
    assert np.abs(found["alone"][1] - found["beside"][1]).max() > 3
