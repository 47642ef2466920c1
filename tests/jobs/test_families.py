"""A local folder of each family of transformers goes through the commands; what it cannot do is said in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_families import CHROMA, FAMILIES, FLUX2, FLUX2_DEV, PIXART, QWEN, SD3, WAN, ZIMAGE, Family, pipeline

from masactrl_video.cli.main import main
from masactrl_video.video.png import read_png

Folder = Callable[[Family], Path]
each = pytest.mark.parametrize("family", [pytest.param(family, id=family.name) for family in FAMILIES])
some = pytest.mark.parametrize("family", [pytest.param(family, id=family.name) for family in (ZIMAGE, CHROMA)])
"""Those with a call for each branch, with and without texts of different lengths."""
whole = pytest.mark.parametrize("family", [pytest.param(family, id=family.name) for family in FAMILIES[:1]])
"""One family through every command: what they do with a model is the same for all."""

SHORT = ["--num-inference-steps", "2", "--masa-step", "0", "--masa-layers", "1", "2"]
SIZE = ["--width", "64", "--height", "64"]
PROMPT = ["--prompt", "a frog on the beach"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The folder of a family's model: `model`, `control` where it has ControlNets, and the frames of a clip."""
    root = tmp_path_factory.mktemp("families")

    def made(family: Family) -> Path:
        own = root / family.name
        if not own.exists():
            pipe = pipeline(family.name)
            pipe.save_pretrained(own / "model")
            if family.control is not None:
                family.save_control(family.control(pipe, 6).module, own / "control")
            (own / "clip").mkdir()
            for number in range(2):
                pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(own / "clip" / f"{number}.png")
        return own

    return made


def run(own: Path, command: list[str], *more: str) -> int:
    return main([*command, "--model", str(own / "model"), "--cache-dir", str(own / "cache"), *SHORT, *more])


@each
def test_a_clip_is_rendered_under_a_controlnet(family: Family, folder: Folder, tmp_path: Path) -> None:
    own, control = folder(family), ["--guidance"]
    if family.control is not None:
        control = ["--controlnet", f"canny={own / 'control'}", "--guidance", "canny"]
    render = ["render", str(own / "clip"), "-o", str(tmp_path / "out.mp4")]
    guided = ["--guidance-scale", "3"]
    if family.guides:
        guided += ["--negative-prompt", "blue", "--skip-uncond", "0.5"]
    assert run(own, render, *PROMPT, *SIZE, *control, *guided) == 0
    attention = json.loads((tmp_path / "out" / "report.json").read_text())["render"]["attention"]
    assert attention["controlled_attention_calls"] == attention["expected_attention_calls"] > 0
    frames = [read_png(path) for path in sorted((tmp_path / "out" / "frames").glob("*.png"))]
    assert len(frames) == 2
    assert (not np.array_equal(*frames)) == (family.control is not None)


@pytest.mark.parametrize("family", [pytest.param(ZIMAGE, id="zimage")])
def test_a_character_acts_in_a_page_of_another_size(family: Family, folder: Folder, tmp_path: Path) -> None:
    own = folder(family)
    kept = ["--cache-dir", str(own / "cache"), "--characters-dir", str(tmp_path / "characters")]
    model = f"model: {own / 'model'}\nnum_inference_steps: 2\nmasa_step: 0\nmasa_layer: 2\nmask_grid_divisor: 2\n"
    (tmp_path / "config.yaml").write_text(model + "guidance: []\nguidance_scale: 3\n")
    make = ["source", "make", "hero", "--config", str(tmp_path / "config.yaml"), "--prompt", "a frog", *SIZE]
    assert main([*make, "--words", "frog", *kept]) == 0
    (tmp_path / "story.yaml").write_text(f"""
settings: {{{model.strip().replace(chr(10), ", ")}, guidance_scale: 3}}
characters:
  bear: {{prompt: a bear in the meadow, words: [bear], size: [64, 64]}}
  frog: {{source: hero, words: [frog]}}
panels:
  - {{prompt: a bear and a frog in the snow, size: [64, 64], characters: [bear, frog]}}
""")
    assert main(["comic", str(tmp_path / "story.yaml"), "-o", str(tmp_path / "page.png"), *kept]) == 0


@some
def test_a_source_later_in_the_clip_follows_the_first(family: Family, folder: Folder, tmp_path: Path) -> None:
    own = folder(family)
    render = ["render", str(own / "clip"), "-o", str(tmp_path / "out.mp4")]
    more = ["--source-at", "0=generated", "--source-at", "1=generated", "--guidance", "--guidance-scale", "3"]
    masked = ["--attention-mode", "masked", "--mask-words", "frog", "--mask-grid-divisor", "2", "--masa-layers", "2"]
    assert run(own, render, *PROMPT, *SIZE, *more, *masked) == 0
    later, alone = (read_png(tmp_path / "out" / f"source{number}.png") for number in ("", "-000001"))
    assert later.shape == alone.shape


@whole
def test_every_other_command_takes_it(family: Family, folder: Folder, tmp_path: Path) -> None:
    own = folder(family)
    stills = ["--source-prompt", "a bear in the meadow", *PROMPT, *SIZE, "--guidance-scale", "3", "--guidance"]
    masked = ["--attention-mode", "masked", "--mask-words", "frog", "--mask-grid-divisor", "2"]
    masked += ["--source-mask-words", "bear"]
    assert run(own, ["synthesize", "-o", str(tmp_path / "stills")], *stills, *masked) == 0
    assert (tmp_path / "stills" / "target-1.png").is_file()
    assert run(own, ["sweep", "-o", str(tmp_path / "grid"), "--rows", "masa_step=0,1"], *stills) == 0
    control = ["--controlnet", f"pose={own / 'control'}", "--guidance", "pose"]
    points = [float(value) for number in range(18) for value in (8 + 3 * (number % 5), 6 + 3 * number, 1)]
    pose = {"people": [{"pose_keypoints_2d": points}], "canvas_width": 64, "canvas_height": 64}
    (tmp_path / "poses.json").write_text(json.dumps([pose, pose]))
    animate = ["animate", str(tmp_path / "poses.json"), "-o", str(tmp_path / "out.mp4")]
    assert run(own, animate, *PROMPT, *SIZE, *control, "--guidance-scale", "1") == 0
    assert run(own, ["edit", str(own / "clip" / "0.png"), "-o", str(tmp_path / "edit")], *PROMPT, *SIZE) == 0


def test_a_real_picture_can_be_the_source_where_the_model_is_no_flow(
    folder: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its preset has a scheduler that inverts nothing: `edit` takes another, and a comic says it."""
    own = folder(PIXART)
    edit = ["edit", str(own / "clip" / "0.png"), "-o", str(tmp_path / "out"), "--preset", "pixart-sigma"]
    with caplog.at_level("INFO"):
        assert run(own, edit, *PROMPT, *SIZE, "--dtype", "float32") == 0
    assert "scheduler: ddim, which can invert a picture, in the place of the preset's dpm++" in caplog.text
    assert (tmp_path / "out" / "target-1.png").is_file()
    (tmp_path / "story.yaml").write_text(f"""
settings: {{model: {own / "model"}, scheduler: dpm++, num_inference_steps: 2, masa_step: 0, masa_layer: 2}}
characters: {{bear: {{image: {own / "clip" / "0.png"}, caption: a bear}}}}
panels: [{{prompt: a bear in the snow, size: [64, 64], characters: [bear]}}]
""")
    assert main(["comic", str(tmp_path / "story.yaml"), "-o", str(tmp_path / "page.png")]) == 2
    assert "characters.bear: scheduler dpm++: a real source is inverted with ddim" in capsys.readouterr().err


VAE = "model/vae"
NO_NETWORK = ["--controlnet", f"canny={VAE}", "--guidance", "canny"]


@pytest.mark.parametrize(
    ("family", "more", "said"),
    [
        (SD3, ["--scheduler", "euler"], "scheduler euler: this model is a flow"),
        (SD3, ["--reuse-deep-features", "2"], "has no blocks that could run alone"),
        (SD3, ["--t2i-adapter", "canny=control", "--guidance", "t2i-canny"], "can have ControlNets alone"),
        (SD3, NO_NETWORK, "AutoencoderKL, not SD3ControlNetModel"),
        (SD3, ["--prediction-type", "epsilon"], "predicts a flow's velocity alone"),
        (SD3, ["--source-positions", "free"], "the keys of Stable Diffusion 3 hold no places"),
        (SD3, ["--width", "256"], "this model has positions for 192 px on a side"),
        (WAN, ["--width", "528"], "got 528 x 64; this model has positions for 512 px on a side"),
        (ZIMAGE, ["--width", "1040"], "got 1040 x 64; this model has positions for 1024 px on a side"),
        (QWEN, ["--cfg-truncation", "0.5"], "cfg_truncation: diffusers' pipeline of Qwen-Image has none"),
        (PIXART, ["--source", "clip", "--scheduler", "dpm++"], "is inverted with ddim, or a flow by its own steps"),
        (QWEN, ["--channels-last"], "the autoencoder of this model is one for videos"),
        (QWEN, ["--taesd", "demo/taesd"], "no tiny decoder fits a AutoencoderKLQwenImage"),
        (PIXART, NO_NETWORK, "diffusers has no control networks for PixArt-Sigma"),
        (PIXART, ["--lora", f"{VAE}/diffusion_pytorch_model.safetensors"], "takes no LoRAs"),
        (PIXART, ["--scheduler", "flow"], "it is for models of flow matching"),
        (WAN, NO_NETWORK, "diffusers has no control networks for Wan"),
        (WAN, ["--scheduler", "euler"], "scheduler euler: Wan is a flow; give unipc"),
        (CHROMA, NO_NETWORK, "diffusers has no control networks for Chroma"),
        (FLUX2, NO_NETWORK, "diffusers has no control networks for FLUX.2"),
        (FLUX2, ["--taesd", "demo/taesd"], "no tiny decoder fits a AutoencoderKLFlux2"),
        (FLUX2_DEV, ["--negative-prompt", "blue"], "distilled (FLUX.2 dev): it reads guidance_scale and no negative"),
    ],
    ids=lambda value: value[0][2:] if isinstance(value, list) else getattr(value, "name", ""),
)
def test_what_it_cannot_do_is_said_in_one_line(
    family: Family,
    folder: Folder,
    tmp_path: Path,
    more: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder(family))
    more = more if "--guidance" in more else [*more, "--guidance"]
    size = ["--height", "64"] if "--width" in more else SIZE
    assert run(folder(family), ["render", "clip", "-o", str(tmp_path / "o.mp4")], *PROMPT, *size, *more) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert "Traceback" not in errors
