"""Input that cannot be used: one line, exit status 2, and nothing left behind."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from video.made_clips import make_clip

SHORT = ("--num-inference-steps", "2", "--masa-step", "1", "--frame-load-cap", "2")
MASKED = ("--attention-mode", "masked")


@pytest.fixture
def folder(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with everything that the table below names."""
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "text.mp4").write_text("this is no video")
    (tmp_path / "empty").mkdir()
    (tmp_path / "there.mp4").write_bytes(b"mine")
    (tmp_path / "unknown.yaml").write_text("model: demo\nguidance: []\nsede: 3\n")
    (tmp_path / "text.png").write_text("this is no picture")
    (tmp_path / "model.ckpt").write_bytes(b"a pickle")
    (tmp_path / "empty.mp4").write_bytes(b"")
    Image.new("RGB", (48, 48)).save(tmp_path / "black.png")
    make_clip(tmp_path / "five.mp4", size="48x48", seconds=0.2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def everything(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


TABLE = {
    "no such file": (["none.mp4"], "no such file or folder: none.mp4"),
    "a text": (["text.mp4"], "text.mp4"),
    "an empty file": (["empty.mp4"], "empty.mp4"),
    "an empty folder": (["empty"], "holds no images"),
    "an address": (["https://example.org/clip.mp4"], "is an address"),
    "a protocol": (["concat:clip.mp4|clip.mp4"], "is an address"),
    "a name with escapes": (["\x1b[31mred\n.mp4"], "no such file or folder:  [31mred .mp4"),
    "a name that is too long": (["a" * 5000 + ".mp4"], "File name too long"),
    "no clip": ([], "clip: missing; name it on the command line"),
    "a picture as clip": (["black.png"], "black.png"),
    "an unknown preset": (["clip.mp4", "--preset", "sd3"], "there is no 'sd3'"),
    "a preset without a prompt": (["clip.mp4", "--preset", "sd15-controlnet"], "prompt: missing"),
    "an unknown layer": (["clip.mp4", "--masa-layers", "up_blocks.9"], "'up_blocks.9'"),
    "a layer past the last": (["clip.mp4", "--masa-layer", "17"], "got 17"),
    "an unknown key": (["clip.mp4", "--config", "unknown.yaml"], "sede: there is no such setting"),
    "a folder as config": (["clip.mp4", "--config", "empty"], "cannot be read as a configuration"),
    "a video as config": (["clip.mp4", "--config", "clip.mp4"], "cannot be read as a configuration"),
    "a size that does not fit": (["clip.mp4", "--width", "100"], "100 is no multiple of 8, "),
    "no weights and no network": (["clip.mp4", "--model", "org/none", "--guidance"], "hub cannot be reached"),
    "no network of guidance": (["clip.mp4", "--controlnet", "canny=org/none"], "hub cannot be reached"),
    "a pickle": (["clip.mp4", "--model", "model.ckpt"], "pickles can run code"),
    "a LoRA that is not there": (["clip.mp4", "--lora", "none.safetensors"], "none.safetensors"),
    "an unknown device": (["clip.mp4", "--device", "tpu"], "device: got 'tpu'"),
    "an output that exists": (["clip.mp4", "-o", "there.mp4"], "there.mp4 exists"),
    "an output of no kind": (["clip.mp4", "-o", "out.avi"], "out.avi"),
    "an output without a suffix": (["clip.mp4", "-o", "out"], "out"),
    "an output over the clip": (["clip.mp4", "-o", "clip.mp4", "--overwrite"], "would be overwritten"),
    "an output below a file": (["clip.mp4", "-o", "text.png/out.mp4"], "text.png"),
    "a word that is not in the prompt": (["clip.mp4", *MASKED, "--mask-words", "dragon"], "'dragon' is not in the"),
    "masks without words": (["clip.mp4", *MASKED], "give mask_words"),
    "words without masks": (["clip.mp4", "--mask-words", "bear"], "belongs to attention_mode masked"),
    "a source frame past the last": (["clip.mp4", "--source-frame", "2"], "source_frame: got 2"),
    "no frames": (["clip.mp4", "--frame-load-cap", "0"], "frame_load_cap: got '0'"),
    "all frames skipped": (["clip.mp4", "--skip-first-frames", "99"], "of the 3 frames"),
    "poses from nowhere": (["clip.mp4", "--guidance", "pose"], "give --pose-detector"),
    "poses that are no JSON": (["clip.mp4", "--guidance", "pose", "--pose-json", "text.png"], "not valid JSON"),
    "guidance of another length": (["clip.mp4", "--guidance-video", "canny=five.mp4"], "is for 5 frames; 2 are taken"),
    "guidance that is not there": (["clip.mp4", "--guidance-video", "canny=none.mp4"], "no such file"),
    "a source that is no picture": (["clip.mp4", "--source-image", "text.png"], "not an image"),
    "a source that is not there": (["clip.mp4", "--source-image", "none.png"], "source_image: no such file"),
    "a black mask": (
        ["clip.mp4", *MASKED, "--mask-words", "bear", "--source-mask", "black.png"],
        "the mask is nowhere white",
    ),
    "a real source and euler": (["clip.mp4", "--source", "clip", "--scheduler", "euler"], "inverted with ddim"),
    "no steps": (["clip.mp4", "--num-inference-steps", "0"], "num_inference_steps: got '0'"),
    "more steps than noise levels": (["clip.mp4", "--num-inference-steps", "5000"], "1000"),
    "a negative seed": (["clip.mp4", "--seed", "-1"], "seed: got '-1'"),
    "guidance that is no number": (["clip.mp4", "--guidance-scale", "nan"], "guidance_scale: got 'nan'"),
    "no frames at a time": (["clip.mp4", "--batch-size", "0"], "batch_size: got '0'"),
    "a frame rate for a video": (["clip.mp4", "--frame-rate", "5"], "leave the rate out"),
    "an unknown encoder": (["clip.mp4", "--codec", "h266"], "h266"),
    "thresholds the wrong way": (["clip.mp4", "--canny-low-threshold", "201"], "201"),
    "a flag that there is not": (["clip.mp4", "--fps", "5"], "--fps"),
    "a flag without its value": (["clip.mp4", "--seed"], "--seed"),
}


@pytest.mark.parametrize("case", TABLE)
def test_render_refuses(run: Callable[..., Any], folder: Path, case: str) -> None:
    arguments, words = TABLE[case]
    before = everything(folder)
    output = () if "-o" in arguments else ("-o", "out.mp4")
    ran = run("render", "-q", *output, *SHORT, *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1
    assert ran.err.startswith("masactrl-video: ")
    assert words in ran.err
    assert everything(folder) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["rendr", "clip.mp4"], "'rendr'"),
        (["render", "clip.mp4"], "-o/--output"),
        (["render", "clip.mp4", "-o", "out.mp4", "--masa-steps", "20"], "masa_steps: got 20"),
        (["probe", "none.mp4"], "no such file"),
        (["frames", "clip.mp4", "-o", "empty"], "empty exists"),
        (["frames", "text.mp4", "-o", "out"], "text.mp4"),
        (["frames", "clip.mp4", "-o", "out", "--width", "100"], "no multiple"),
        (["guidance", "clip.mp4", "-o", "out", "--guidance"], "none is in use"),
        (["guidance", "clip.mp4", "-o", "out", "--guidance", "pose"], "--pose-detector"),
        (["guidance", "clip.mp4", "-o", "out", "--guidance-video", "canny=five.mp4"], "for 5 frames"),
        (["source", "record", "clip.mp4", "-o", "out.jpg"], ".png"),
        (["source", "record", "clip.mp4", "-o", "black.png"], "black.png exists"),
        (["source", "record", "clip.mp4", "-o", "new.png", "--source-image", "text.png"], "not an image"),
        (["encode", "clip.mp4", "--frames", "none", "-o", "out.mp4"], "not a folder"),
        (["encode", "clip.mp4", "--frames", "empty", "-o", "out.mp4"], "no images"),
        (["encode", "clip.mp4", "-o", "out.mp4"], "--frames"),
        (["cache"], "ACTION"),
        (["cache", "show", "abc"], "'abc' names 0 entries"),
        (["cache", "prune"], "say what to remove"),
        (["cache", "prune", "--max-size", "many"], "got 'many'"),
        (["cache", "prune", "--older-than-days", "nan"], "got nan"),
        (["cache", "prune", "--older-than-days", "-1"], "negative"),
        (["cache", "prune", "--all", "--max-size", "1GB"], "give it alone"),
    ],
)
def test_the_other_commands_refuse(run: Callable[..., Any], folder: Path, arguments: list[str], words: str) -> None:
    before = everything(folder)
    ran = run(*arguments, *(["-q"] if arguments[1:] and arguments[0] != "cache" else []))
    assert (ran.status, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1
    assert words in ran.err
    assert everything(folder) == before


def test_a_process_of_its_own_ends_in_one_line(folder: Path) -> None:
    arguments = ["render", "clip.mp4", "-o", "out.mp4", "--model", "org/none", "--guidance"]
    before = everything(folder)
    done = subprocess.run([sys.executable, "-m", "masactrl_video.cli.main", *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "neither a local folder nor among the downloads" in done.stderr
    assert everything(folder) == before
