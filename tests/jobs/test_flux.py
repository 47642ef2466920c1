"""A local folder of FLUX.1 goes through the commands, and what it cannot do is said in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_flux
import torch
from PIL import Image

from masactrl_video.cli.main import main
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.render.overflow import first_overflow
from masactrl_video.video.png import read_png

SHORT = [
    *("--prompt", "a frog on the beach", "--num-inference-steps", "2", "--masa-step", "0", "--masa-layers", "0", "2"),
    *("--guidance-scale", "3.5", "--width", "64", "--height", "64"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`dev` and `base` (without distilled guidance), `control`, a ControlNet of dev, and the frames of a clip."""
    folder = tmp_path_factory.mktemp("flux")
    for name, guidance in (("dev", True), ("base", False)):
        tiny_flux.pipeline(guidance=guidance).save_pretrained(folder / name)
    tiny_flux.controlnet(tiny_flux.transformer(guidance=True)).save_pretrained(folder / "control")
    (folder / "clip").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "clip" / f"{number}.png")
    return folder


def run(folder: Path, command: list[str], model: str, out: Path, *more: str) -> int:
    cache = ["--cache-dir", str(folder / "cache")]
    return main([*command, "-o", str(out), "--model", str(folder / model), *cache, *SHORT, *more])


def test_a_clip_is_rendered_under_a_controlnet(folder: Path, tmp_path: Path) -> None:
    control = ["--controlnet", f"canny={folder / 'control'}", "--guidance", "canny"]
    assert run(folder, ["render", str(folder / "clip")], "dev", tmp_path / "out.mp4", *control) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    attention = report["render"]["attention"]
    assert (
        attention["controlled_attention_calls"] == attention["expected_attention_calls"] == 2 * 2
    )  # both frames in one batch
    first, second = (read_png(path) for path in sorted((tmp_path / "out" / "frames").glob("*.png")))
    assert not np.array_equal(first, second)


def test_a_source_later_in_the_clip_is_recorded_while_it_follows_the_first(folder: Path, tmp_path: Path) -> None:
    """Its picture is that frame as the first source makes it."""
    control = ["--controlnet", f"canny={folder / 'control'}", "--guidance", "canny"]
    masked = ["--attention-mode", "masked", "--mask-words", "frog", "--mask-grid-divisor", "2", "--masa-layers", "1"]
    for name, more in (("one", []), ("two", ["--source-at", "0=generated", "--source-at", "1=generated"])):
        assert (
            run(folder, ["render", str(folder / "clip")], "dev", tmp_path / f"{name}.mp4", *control, *masked, *more)
            == 0
        )
    later = read_png(tmp_path / "two" / "source-000001.png")
    alone = read_png(sorted((tmp_path / "one" / "frames").glob("*.png"))[1])
    assert np.abs(np.subtract(later, alone, dtype=np.int16)).max() <= 1
    assert (later != read_png(tmp_path / "two" / "source.png")).any()


@pytest.mark.long
def test_a_character_of_another_size_acts(folder: Path, tmp_path: Path) -> None:
    """Alone in a clip or panel, as the first of two sources, beside a character whose steps have other timesteps."""
    kept = ["--cache-dir", str(folder / "cache"), "--characters-dir", str(tmp_path / "characters")]
    model = f"{{model: {folder / 'dev'}, num_inference_steps: 2, masa_step: 0, masa_layer: 1, mask_grid_divisor: 2}}"
    config = tmp_path / "config.yaml"
    config.write_text(model.strip("{}").replace(", ", "\n") + "\nguidance: []")
    make = ["source", "make", "hero", "--config", str(config), "--prompt", "a frog", "--width", "96", "--height", "64"]
    assert main([*make, "--words", "frog", *kept]) == 0
    more = ["--guidance", "--characters-dir", str(tmp_path / "characters")]
    render = ["render", str(folder / "clip")]
    assert run(folder, render, "dev", tmp_path / "a.mp4", *more, "--character", "hero", "--masa-layers", "1") == 0
    two = ["--source-at", "0=hero", "--source-at", "1=generated", "--masa-layers", "1"]
    assert run(folder, render, "dev", tmp_path / "b.mp4", *more, *two) == 0
    (tmp_path / "story.yaml").write_text(f"""
settings: {model}
characters:
  bear: {{prompt: a bear in the meadow, words: [bear], size: [64, 64]}}
  frog: {{source: hero, words: [frog]}}
  cat: {{prompt: a cat in the meadow, size: [64, 64]}}
panels:
  - {{prompt: a bear and a frog in the snow, size: [64, 64], characters: [bear, frog]}}
  - {{prompt: a cat in the snow, size: [96, 64], characters: [cat]}}
""")
    assert main(["comic", str(tmp_path / "story.yaml"), "-o", str(tmp_path / "page.png"), *kept]) == 0


def test_stills_follow_their_source_under_real_guidance(folder: Path, tmp_path: Path) -> None:
    more = ["--source-prompt", "a bear in the meadow", "--negative-prompt", "blue", "--attention-mode", "masked"]
    more += ["--mask-words", "frog", "--source-mask-words", "bear", "--mask-grid-divisor", "2", "--masa-layers", "1"]
    more += ["--source-positions", "shifted"]
    assert run(folder, ["synthesize"], "base", tmp_path / "out", *more) == 0
    assert (tmp_path / "out" / "target-1.png").is_file()


@pytest.mark.long
def test_each_of_two_characters_has_its_region_of_a_panel(folder: Path, tmp_path: Path) -> None:
    """Found by words or by boxes, under poses; what is in no region does not see another character's seed."""
    settings = f"model: {folder / 'dev'}, num_inference_steps: 2, masa_step: 0, masa_layer: 1, mask_grid_divisor: 2"
    settings += f", controls: {{pose: {{kind: pose, adapter: controlnet, model: {folder / 'control'}}}}}"
    common = ["--cache-dir", str(folder / "cache")]
    panels = {}
    for name, seed, boxes in (("words", 1, False), ("boxes", 1, True), ("other", 2, True)):
        left, right = ("box: [0, 0, 0.5, 1], ", "box: [0.5, 0, 1, 1], ") if boxes else ("", "")
        (tmp_path / f"{name}.yaml").write_text(f"""
settings: {{{settings}}}
characters:
  bear: {{prompt: a bear in the meadow, words: [bear], size: [64, 64], seed: 5, pose: standing}}
  frog: {{prompt: a frog on the beach, words: [frog], size: [64, 64], seed: {seed}}}
panels:
  - prompt: a bear and a frog in the snow
    size: [96, 64]
    characters: {{bear: {{{left}pose: standing}}, frog: {{{right}pose: waving}}}}
""")
        assert main(["comic", str(tmp_path / f"{name}.yaml"), "-o", str(tmp_path / f"{name}.png"), *common]) == 0
        (panel,) = json.loads((tmp_path / name / "report.json").read_text())["panels"]
        figures = panel["attention"]
        assert figures["controlled_attention_calls"] == figures["expected_attention_calls"] == 2 * 4
        assert figures["tokens_of_source_0"] > 0 < figures["tokens_of_source_1"]
        panels[name] = read_png(next((tmp_path / name / "panels").glob("*.png")))
    assert (panels["words"] != panels["boxes"]).any()
    assert (panels["boxes"] != panels["other"]).any()


def test_the_keys_of_characters_go_with_their_limbs_from_panel_to_panel(folder: Path, tmp_path: Path) -> None:
    """In the pose in which one was made nothing moves, and each of two follows its own body."""
    common = ["--cache-dir", str(folder / "cache")]
    panels: dict[str, list[np.ndarray]] = {}
    for positions in ("as-is", "pose", "free"):
        settings = f"model: {folder / 'dev'}, num_inference_steps: 2, masa_step: 0, masa_layer: 1"
        settings += f", controls: {{pose: {{kind: pose, adapter: controlnet, model: {folder / 'control'}}}}}"
        (tmp_path / f"{positions}.yaml").write_text(f"""
settings: {{{settings}}}
characters:
  bear: {{prompt: a bear in the meadow, size: [64, 64], pose: standing}}
  frog: {{prompt: a frog on the beach, size: [64, 64], pose: waving}}
panels:
  - {{prompt: a bear in the snow, size: [64, 64], characters: {{bear: {{pose: standing}}}}}}
  - {{prompt: a bear in the snow, size: [64, 64], characters: {{bear: {{pose: waving}}}}}}
  - prompt: a bear and a frog in the snow
    size: [96, 64]
    characters: {{bear: {{box: [0, 0, 0.5, 1], pose: waving}}, frog: {{box: [0.5, 0, 1, 1]}}}}
""")
        story, out = str(tmp_path / f"{positions}.yaml"), tmp_path / f"{positions}.png"
        assert main(["comic", story, "-o", str(out), *common, "--source-positions", positions]) == 0
        panels[positions] = [read_png(path) for path in sorted((tmp_path / positions / "panels").glob("*.png"))]
    asis, pose, free = panels.values()
    assert len(asis) == len(pose) == 3
    assert np.array_equal(asis[0], pose[0])
    assert all((one != other).any() for one, other in zip(asis[1:], pose[1:], strict=True))
    assert all((one != other).any() for one, other in zip(asis, free, strict=True))
    text = (tmp_path / "pose.yaml").read_text()
    (tmp_path / "none.yaml").write_text(text.replace("64], pose: waving", "64]"))
    assert (
        main(["comic", str(tmp_path / "none.yaml"), "-o", str(tmp_path / "n.png"), "--source-positions", "pose"]) == 2
    )


def test_real_guidance_stands_beside_the_distilled_one(folder: Path, tmp_path: Path) -> None:
    common = ["--source-prompt", "a bear in the meadow", "--guidance"]
    pictures = []
    for name, more in (("none", []), ("real", ["--true-cfg-scale", "3", "--negative-prompt", "blue"])):
        assert run(folder, ["synthesize"], "dev", tmp_path / name, *common, *more) == 0
        pictures.append([read_png(tmp_path / name / f"{made}.png") for made in ("source", "target-1")])
    assert all((one != two).any() for one, two in zip(*pictures, strict=True))


def test_a_real_picture_is_inverted_kept_edited_and_followed(folder: Path, tmp_path: Path) -> None:
    """In a clip by its own frame, by a picture and by a character; and in an edit, refined and not replayed."""
    picture, kept = str(folder / "clip" / "0.png"), ["--characters-dir", str(tmp_path / "characters"), "--guidance"]
    clip = ["render", str(folder / "clip")]
    assert run(folder, clip, "dev", tmp_path / "clip.mp4", "--guidance", "--source", "clip") == 0
    assert run(folder, clip, "dev", tmp_path / "picture.mp4", "--guidance", "--source-image", picture) == 0
    errors = [
        json.loads((tmp_path / name / "report.json").read_text())["inversion_error"] for name in ("clip", "picture")
    ]
    assert errors[0] == errors[1] > 0
    make = ["source", "make", "hero", "--model", str(folder / "dev"), "--source-image", picture, *kept[:2]]
    make += [
        "--num-inference-steps",
        "2",
        "--guidance-scale",
        "3.5",
        "--width",
        "64",
        "--height",
        "64",
        "--cache-dir",
        str(folder / "cache"),
    ]
    assert main(make) == 0
    assert run(folder, clip, "dev", tmp_path / "hero.mp4", *kept, "--character", "hero") == 0
    frames = [read_png(tmp_path / name / "frames" / "000001.png") for name in ("clip", "picture", "hero")]
    assert np.array_equal(frames[0], frames[1])
    assert np.array_equal(frames[1], frames[2])
    edit = ["--inversion-iterations", "20", "--no-replay"]
    assert run(folder, ["edit", picture], "base", tmp_path / "edit", *edit) == 0
    assert json.loads((tmp_path / "edit" / "report.json").read_text())["inversion_error"] < 0.01
    assert (tmp_path / "edit" / "target-1.png").is_file()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--width", "70"], "the width 70 is no multiple of 16, as the model needs; nearest: 64 or 80"),
        (["--negative-prompt", "blue"], "the guidance of this model is distilled"),
        (["--scheduler", "euler"], "scheduler euler: this model is a flow"),
        (["--reuse-deep-features", "2"], "FLUX.1 has no blocks that could run alone"),
        (["--skip-uncond", "0.5"], "skip_uncond: this model has no unconditional branch"),
        (["--masa-layers", "mid_block"], "this model has 0 to 4 in transformer_blocks, single_transformer_blocks"),
        (["--controlnet", "canny=vae", "--guidance", "canny"], "AutoencoderKL, not FluxControlNetModel"),
        (["--t2i-adapter", "canny=control", "--guidance", "t2i-canny"], "FLUX.1 can have ControlNets alone"),
        (["--prediction-type", "epsilon"], "FLUX.1 predicts a flow's velocity alone"),
    ],
    ids=lambda value: value[0][2:] if isinstance(value, list) else "",
)
def test_what_it_cannot_do_is_said_in_one_line(
    folder: Path,
    tmp_path: Path,
    more: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    if "canny=vae" in more:
        more = ["--controlnet", "canny=dev/vae", "--guidance", "canny"]
    elif "--guidance" not in more:
        more = [*more, "--guidance"]
    assert run(folder, ["render", "clip"], "dev", tmp_path / "out.mp4", *more) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert "Traceback" not in errors


def test_the_methods_of_others_are_for_stable_diffusion(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, ["compare"], "dev", tmp_path / "out", "--source-prompt", "a bear", "--guidance") == 2
    assert "compare: the other methods work on Stable Diffusion's kind of network alone" in capsys.readouterr().err


def test_a_layer_that_overflows_is_named_as_flux_has_it() -> None:
    model = DiffusionModel(tiny_flux.pipeline())
    with torch.no_grad():
        layer = model.denoiser.get_submodule("x_embedder")
        layer.weight.fill_(float("nan"))
    assert "x_embedder (transformer)" in first_overflow(model, lambda on_step: layer(torch.zeros(1, 16)))


def test_a_story_with_no_guidance_is_told_to_leave_it_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    story = tmp_path / "story.yaml"
    story.write_text("settings: {guidance: []}\ncharacters: {bear: {prompt: a bear}}\npanels: [{prompt: a bear}]\n")
    assert main(["comic", str(story), "-o", str(tmp_path / "page.png")]) == 2
    assert "name one control of kind pose, or leave it out" in capsys.readouterr().err
