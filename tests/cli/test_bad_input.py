"""Input that cannot be used: one line, exit status 2, and nothing left behind."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from video.made_clips import make_clip

SHORT = ("--num-inference-steps", "2", "--masa-step", "1", "--frame-load-cap", "2")
MASKED = ("--attention-mode", "masked")
NEW = ("-o", "out", "--source-prompt", "a bear")


BODY = [number for index in range(18) for number in (10 + index, 20 + 2 * index, 1)]


def pose_frame(body: Any = BODY, **more: Any) -> dict[str, Any]:
    return {"people": [{"pose_keypoints_2d": body}], "canvas_width": 48, "canvas_height": 64, **more}


POSE_FILES = {
    "poses.json": json.dumps([pose_frame(), pose_frame(), pose_frame()]),
    "cut.json": json.dumps([pose_frame()])[:-9],
    "arity.json": json.dumps([pose_frame(), pose_frame(BODY[:-1])]),
    "nan.json": json.dumps([pose_frame([float("nan"), *BODY[1:]])]),
    "nobody.json": json.dumps([pose_frame(people=[])] * 2),
    "outside.json": json.dumps([pose_frame([-1, -1, 1] * 18)] * 2),
    "alone.json": json.dumps([pose_frame([-1, -1, 1] * 18)]),
    "crowd.json": json.dumps([pose_frame(people=[{"pose_keypoints_2d": BODY}] * 10_000)]),
    "no-canvas/0.json": json.dumps({"version": 1.3, "people": [{"pose_keypoints_2d": BODY}]}),
    "dot.json": json.dumps([pose_frame([5, 5, 1, *[0] * 51])]),
}


_HERO = "characters: {hero: {prompt: a bear}}\n"
_TWO = "characters: {a: {prompt: a bear}, b: {prompt: a frog}}\n"
STORIES = {
    "story.yaml": _HERO + "panels: [{prompt: a bear}]",
    "unknown_key.yaml": _HERO + "panels: [{prompt: a bear, posse: waving}]",
    "no_pose.yaml": _HERO + "panels: [{prompt: a bear}, {prompt: a bear, pose: levitating}]",
    "no_pose_file.yaml": _HERO + "panels: [{prompt: a bear, pose: poses/none.json}]",
    "pose_up.yaml": _HERO + "panels: [{prompt: a bear, pose: ../../etc/passwd}]",
    "pose_nan.yaml": _HERO + "panels: [{prompt: a bear, pose: nan.json}]",
    "pose_crowd.yaml": _HERO + "panels: [{prompt: a bear, pose: crowd.json}]",
    "pose_arity.yaml": _HERO + "panels: [{prompt: a bear, pose: arity.json}]",
    "pose_clip.yaml": _HERO + "panels: [{prompt: a bear, pose: nobody.json}]",
    "pose_nobody.yaml": _HERO + "panels: [{prompt: a bear, pose: alone.json}]",
    "nc_pose.yaml": _HERO + "panels: [{prompt: '[NC] snow', pose: waving}]",
    "own_prompt.yaml": _HERO + "panels: [{prompt: a bear, characters: {hero: {prompt: a bear}}}]",
    "pose_picture.yaml": _HERO + "panels: [{prompt: a bear, pose: text.png}]",
    "long.yaml": _HERO
    + "page: {width: 400, height: 400, margin: 10}\n"
    + f"panels: [{{prompt: a bear, balloons: [{'much to say ' * 80}]}}]",
    "layout.yaml": _HERO + "layout: diagonal\npanels: [{prompt: a bear}]",
    "speaker.yaml": _HERO + "panels: [{prompt: a bear, balloons: [{text: Hi, by: frog}]}]",
    "who.yaml": _TWO + "panels: [{prompt: a bear}]",
    "where.yaml": _TWO + "panels: [{prompt: a bear and a frog, characters: [a, b]}]",
    "stranger.yaml": _HERO + "panels: [{prompt: a bear, characters: [villain]}]",
    "words.yaml": "characters: {hero: {prompt: a bear, words: [bear]}}\npanels: [{prompt: a frog}]",
    "size.yaml": _HERO + "panels: [{prompt: a bear, size: [60, 64]}]",
    "picture.yaml": "characters: {hero: {image: none.png}}\npanels: [{prompt: a bear}]",
    "saved.yaml": "characters: {hero: {source: nobody}}\npanels: [{prompt: a bear}]",
    "saved_up.yaml": "characters: {hero: {source: ../nobody}}\npanels: [{prompt: a bear}]",
    "setting.yaml": _HERO + "settings: {frame_rate: 3}\npanels: [{prompt: a bear}]",
    "font.yaml": _HERO + "page: {font: text.png}\npanels: [{prompt: a bear, caption: Hi}]",
    "python.yaml": "panels: !!python/object/apply:os.system ['touch pwned']",
    "itself.yaml": "panels: &a [*a]",
    "list.yaml": "- a\n- b",
    "empty.txt": "\n",
    "script.txt": "waving # Hi\n",
    "hashes.txt": "a # b # c # d\n",
}


def write_hostile_character(path: Path) -> None:
    """A whole character with a path upwards beside it."""
    recipe: dict[str, Any] = {"kind": "generated", "prompt": "x", "negative_prompt": "", "caption": "x", "words": []}
    recipe |= {"seed": 0, "guidance_scale": 4.0, "width": 8, "height": 8, "model": "demo", "revision": None}
    recipe |= {"variant": None, "lora": {}, "scheduler": "ddim", "num_inference_steps": 2, "controls": [], "pose": None}
    files = {name: {"bytes": 0, "sha256": "0" * 64} for name in ("picture.png", "source.safetensors")}
    index = {"format_version": 1, "name": "hero", "created": "2026-01-02T00:00:00Z", "made_by": "0.1.0"}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("character.json", json.dumps({**index, "recipe": recipe, "files": files}))
        archive.writestr("../evil.txt", "x")
        for name in files:
            archive.writestr(name, b"")


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
    write_hostile_character(tmp_path / "hostile.zip")
    for name, text in STORIES.items():
        (tmp_path / name).write_text(text)
    make_clip(tmp_path / "five.mp4", size="48x48", seconds=0.2)
    for name, content in POSE_FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
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
    "poses by a detector that is not there": (
        ["clip.mp4", "--guidance", "pose", "--pose-detector", "demo/none"],
        "pose_detector 'demo/none': the demo has",
    ),
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


ANIMATE = {
    "no poses": ([], "POSES: missing"),
    "no such poses": (["none.json"], "no such file or folder: none.json"),
    "a folder of nothing": (["empty"], "holds no images"),
    "no JSON": (["cut.json"], "cut.json: not valid JSON"),
    "a wrong number of numbers": (["arity.json"], "frame 1: people[0].pose_keypoints_2d: 53 numbers"),
    "a number that is none": (["nan.json"], "NaN"),
    "10,000 people": (["crowd.json"], "at most 1000"),
    "no canvas": (["no-canvas"], "--pose-canvas"),
    "a canvas of no size": (["no-canvas", "--pose-canvas", "0x9"], "pose_canvas: got '0x9'"),
    "nobody to take": (["nobody.json", "--person", "0"], "nobody is in any of the 2 frames"),
    "nobody at all": (["nobody.json"], "nobody is in any of the 2 frames"),
    "missing points alone": (["outside.json"], "nobody is in any of the 2 frames"),
    "missing points only": (["outside.json", "--person", "largest"], "nobody is in any"),
    "a person that there is not": (["poses.json", "--person", "1"], "got 1; 1 are told apart"),
    "a person by name": (["poses.json", "--person", "Ann"], "person: got 'Ann'"),
    "an even window": (["poses.json", "--smooth-poses", "6"], "smooth_poses: got 6"),
    "nobody's proportions": (["poses.json", "--retarget", "nobody.json"], "shows nobody"),
    "a point's proportions": (["poses.json", "--retarget", "dot.json"], "no whole bone"),
    "a picture's proportions, undetected": (["poses.json", "--retarget", "black.png"], "give --pose-detector"),
    "proportions that are not there": (["poses.json", "--retarget", "none.json"], "retarget: no such file"),
    "a share without a whole": (["poses.json", "--retarget-foreshortening"], "without retarget"),
    "a detector without use": (["poses.json", "--pose-detector", "p.onnx"], "poses.json gives the poses"),
    "edges of poses": (["poses.json", "--guidance", "canny"], "holds poses, no pictures"),
    "skeletons as the source": (["poses.json", "--source", "clip"], "shows skeletons, not a character"),
    "a clip of no skeletons": (["clip.mp4"], "does not show skeletons on black"),
    "a frame rate of nothing": (["poses.json", "--frame-rate", "0"], "frame_rate: got '0'"),
}


@pytest.mark.parametrize("case", ANIMATE)
def test_animate_refuses(run: Callable[..., Any], folder: Path, case: str) -> None:
    arguments, words = ANIMATE[case]
    before = everything(folder)
    ran = run("animate", "-q", "-o", "out.mp4", *SHORT, *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1
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
        (["guidance", "clip.mp4", "-o", "out", "--guidance", "pose", "--pose-detector", "none"], "no such folder"),
        (["guidance", "clip.mp4", "-o", "out", "--guidance-video", "canny=five.mp4"], "for 5 frames"),
        (["synthesize", "-o", "out"], "source_prompt: missing"),
        (["synthesize", "-o", "empty.mp4", "--source-prompt", "a bear"], "empty.mp4 exists"),
        (["synthesize", *NEW, "--prompt", "a frog", "--attention-mode", "masked", "--mask-words", "bear"], "'bear'"),
        (["synthesize", *NEW, "--seed", "-1"], "got -1"),
        (["synthesize", *NEW, "--target-guidance", "black.png"], "KIND=PICTURE"),
        (["synthesize", *NEW, "--target-guidance", "canny=none.png"], "target_guidance canny: no such file"),
        (["synthesize", *NEW, "--target-guidance", "depth=black.png"], "not in use (canny)"),
        (["synthesize", *NEW, "--source-guidance", "canny=text.png"], "not an image"),
        (["synthesize", *NEW, "--guidance", "canny"], "'canny': it needs pictures"),
        (["synthesize", *NEW, "--preset", "sd15-controlnet"], "prompt: missing"),
        (["synthesize", *NEW, "--width", "100"], "no multiple"),
        (["edit", "-o", "out"], "source_image: missing"),
        (["edit", "none.jpg", "-o", "out"], "source_image: no such file"),
        (["edit", "text.png", "-o", "out"], "not an image"),
        (["edit", "black.png", "-o", "out", "--inversion-iterations", "-1"], "inversion_iterations: got '-1'"),
        (["edit", "black.png", "-o", "out", "--scheduler", "euler"], "--scheduler"),
        (["sweep", *NEW], "rows, columns: missing"),
        (["sweep", *NEW, "--rows", "steps=1,2"], "'steps' cannot be swept"),
        (["sweep", *NEW, "--rows", "masa_step=1,two"], "masa_step: got 'two'"),
        (["sweep", *NEW, "--rows", "masa_step=1", "--columns", "masa_layer=8,17"], "got 17"),
        (["sweep", *NEW, "--rows", "masa_step=1", "--no-replay"], "only a given picture is inverted"),
        (["compare", *NEW, "--sdedit-strength", "0.01"], "sdedit_strength"),
        (["compare", *NEW, "--p2p-cross-steps", "2"], "p2p_cross_steps: got '2'"),
        (["source"], "ACTION"),
        (["source", "clip.mp4", "-o", "new.png"], "invalid choice: 'clip.mp4' (choose from"),
        (["source", "make", "../hero"], "a name has letters, digits"),
        (["source", "make", "hero", "--pose", "../secret"], "there is no pose '../secret'"),
        (["source", "make", "hero", "--words", "dragon"], "'dragon' is not in the prompt"),
        (["source", "make", "hero", "--width", "60", "--height", "64"], "60 is no multiple of"),
        (["source", "make", "hero", "--source-image", "none.png"], "no such file"),
        (["source", "make", "hero", "--source-image", "black.png", "--prompt", "a bear"], "--caption names what"),
        (["source", "make", "hero", "--source-image", "black.png", "--words", "bear"], "give --caption too"),
        (["source", "show", "nobody"], "'nobody': there is none of that name"),
        (["source", "show", "../nobody"], "a name has letters, digits"),
        (["source", "remove", "../empty"], "a name has letters, digits"),
        (["source", "export", "nobody", "-o", "a.zip"], "'nobody': there is none"),
        (["source", "export", "nobody", "-o", "text.png"], "exported as .zip"),
        (["source", "import", "none.zip"], "no such file: none.zip"),
        (["source", "import", "text.png"], "cannot be read as an exported character"),
        (["source", "import", "hostile.zip"], "holds '../evil.txt', which is not part of a character"),
        (["render", "clip.mp4", "-o", "out.mp4", "--character", "nobody"], "'nobody': there is none of that name"),
        (["render", "clip.mp4", "-o", "out.mp4", "--character", "a", "--source", "clip"], "exclude each other"),
        (["source", "record", "clip.mp4", "-o", "out.jpg"], ".png"),
        (["source", "record", "clip.mp4", "-o", "black.png"], "black.png exists"),
        (["source", "record", "clip.mp4", "-o", "new.png", "--source-image", "text.png"], "not an image"),
        (["encode", "clip.mp4", "--frames", "none", "-o", "out.mp4"], "not a folder"),
        (["encode", "clip.mp4", "--frames", "empty", "-o", "out.mp4"], "no images"),
        (["encode", "clip.mp4", "-o", "out.mp4"], "--frames"),
        (["pose"], "ACTION"),
        (["pose", "extract", "clip.mp4", "-o", "out.json"], "give --pose-detector"),
        (["pose", "extract", "text.mp4", "--pose-detector", "p.onnx", "-o", "out.json"], "text.mp4"),
        (["pose", "show", "poses.json", "-o", "out.jpg"], "out.jpg: an output of no known kind"),
        (["pose", "show", "poses.json", "-o", "black.png"], "black.png exists"),
        (["pose", "show", "nan.json", "-o", "out.png"], "NaN"),
        (["pose", "show", "poses.json", "-o", "out.png", "--frames", "0"], "got '0'"),
        (["pose", "show", "poses.json", "-o", "out.mp4", "--frame-rate", "nan"], "got 'nan'"),
        (["pose", "convert", "poses.json", "-o", "poses.json", "--overwrite"], "would be overwritten"),
        (["pose", "convert", "poses.json", "-o", "empty"], "empty exists"),
        (["pose", "convert", "poses.json", "-o", "out.json", "--canvas", "64"], "WIDTHxHEIGHT"),
        (["pose", "convert", "poses.json", "-o", "out.json", "--fit", "crop"], "without --canvas"),
        (["pose", "convert", "no-canvas", "-o", "out.json"], "--pose-canvas"),
        (["pose", "smooth", "poses.json", "-o", "out.json", "--smooth-poses", "4"], "smooth_poses: got '4'"),
        (["pose", "smooth", "crowd.json", "-o", "out.json"], "at most 1000"),
        (["pose", "smooth", "outside.json", "-o", "out.json"], "nobody is in any of the 2 frames"),
        (["pose", "show", "nobody.json", "-o", "out.png"], "nobody is in any of the 2 frames"),
        (["pose", "tween", "waving", "none", "-o", "out.json"], "none"),
        (["synthesize", "--source-prompt", "a", "--target-guidance", "pose=nan.json", "-o", "out"], "NaN"),
        (["synthesize", "--source-prompt", "a", "--target-guidance", "pose=levitating", "-o", "out"], "'levitating'"),
        (["synthesize", "--source-prompt", "a", "--target-guidance", "pose=outside.json", "-o", "out"], "2 poses"),
        (["pose", "retarget", "poses.json", "-o", "out.json"], "give --reference"),
        (["pose", "retarget", "poses.json", "-o", "out.json", "--length", "tail=9"], "there is no bone 'tail'"),
        (["pose", "retarget", "poses.json", "-o", "out.json", "--length", "neck"], "BONE=PX"),
        (["pose", "retarget", "nobody.json", "-o", "out.json", "--length", "neck=9"], "nobody"),
        (["pose", "tween", "dot.json", "-o", "out.json"], "two or more are needed"),
        (["pose", "tween", "poses.json", "-o", "out.json", "--at", "0", "9"], "2 frame numbers for 3 key poses"),
        (["pose", "tween", "poses.json", "-o", "out.json", "--every", "2", "--at", "0"], "not allowed with"),
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


COMICS = {
    "no such story": ("none.yaml", [], "none.yaml: cannot be read"),
    "a video": ("clip.mp4", [], "cannot be read as a script"),
    "an unknown key": ("unknown_key.yaml", [], "panels.1.posse: there is no such key"),
    "a pose that there is not": ("no_pose.yaml", [], "panel 2, pose: there is no pose 'levitating'; there are: arms"),
    "a pose file that is not there": ("no_pose_file.yaml", [], "none.json: no such file"),
    "a pose outside": ("pose_up.yaml", [], "there is no pose '../../etc/passwd'"),
    "a pose of no numbers": ("pose_nan.yaml", [], "panel 1, pose: nan.json: not valid JSON: NaN"),
    "a pose of a crowd": ("pose_crowd.yaml", [], "panel 1, pose: crowd.json"),
    "a pose of another length": ("pose_arity.yaml", [], "people[0].pose_keypoints_2d: 53 numbers"),
    "a clip for a pose": ("pose_clip.yaml", [], "nobody.json holds 2 poses; one is wanted"),
    "nobody's pose": ("pose_nobody.yaml", [], "panel 1, pose: nobody is in alone.json"),
    "a pose of no character": ("nc_pose.yaml", [], "panels.1: [NC] is a panel without characters; leave out"),
    "a prompt without a place": ("own_prompt.yaml", [], "panel 1: hero has a prompt of its own: give it a box"),
    "a pose that is no picture": ("pose_picture.yaml", [], "text.png"),
    "too long a speech": ("long.yaml", [], "panel 1, balloon 1: 'much to say"),
    "an unknown layout": ("layout.yaml", [], "there is no 'diagonal'; there are auto"),
    "an unknown layout by flag": ("story.yaml", ["--layout", "9x9"], "there is no '9x9'"),
    "a speaker who is not there": ("speaker.yaml", [], "panel 1, balloon 1: 'frog' is not in this panel"),
    "nobody named of two": ("who.yaml", [], "panel 1: say with `characters` who of a, b"),
    "two who cannot be told apart": ("where.yaml", [], "panel 1: where is a? Give it words"),
    "a stranger": ("stranger.yaml", [], "panel 1: there is no character 'villain'; there are: hero"),
    "words that are not in the prompt": ("words.yaml", [], "panel 1, words of hero: 'bear' is not in the prompt"),
    "a size that does not fit": ("size.yaml", [], "panel 1: size: the width 60 is no multiple of"),
    "a picture that is not there": ("picture.yaml", [], "characters.hero.image: no such file"),
    "a saved character that is not there": ("saved.yaml", [], "character 'nobody': there is none of that name"),
    "a saved character outside": ("saved_up.yaml", [], "characters.hero.source"),
    "a setting of a clip": ("setting.yaml", [], "settings.frame_rate: not for a comic as a whole"),
    "a font that is none": ("font.yaml", [], "page.font: text.png cannot be read"),
    "YAML that runs code": ("python.yaml", [], "not YAML"),
    "YAML that refers to itself": ("itself.yaml", [], "itself.yaml"),
    "a list": ("list.yaml", [], "list.yaml"),
    "an empty script": ("empty.txt", [], "no line in it"),
    "a script of nobody": ("script.txt", [], "say who is in it: --prompt, --source-image or --source-name"),
    "a script of two": (
        "script.txt",
        ["--prompt", "a bear", "--source-name", "x"],
        "give one of prompt, image and source",
    ),
    "a script of another form": ("hashes.txt", ["--prompt", "a bear"], "hashes.txt, line 1: 3 times #"),
    "a character for a story": ("story.yaml", ["--prompt", "a bear"], "a story names its characters itself"),
    "a configuration": ("story.yaml", ["--config", "unknown.yaml"], "settings stand in the story itself"),
    "an output of no kind": ("story.yaml", ["-o", "page.jpg"], "a comic is written as .png, .pdf, .cbz"),
    "an output that exists": ("story.yaml", ["-o", "black.png"], "black.png exists"),
    "an output in a folder of others": ("story.yaml", ["-o", "mine.png"], "was not made by this command"),
    "an output over the story": ("story.yaml", ["-o", "story.pdf", "--overwrite", "--seed", "-1"], "seed: got '-1'"),
    "an unknown preset": ("story.yaml", ["--preset", "sd3"], "there is no 'sd3'"),
}


@pytest.mark.parametrize("case", COMICS)
def test_comic_refuses(run: Callable[..., Any], folder: Path, case: str) -> None:
    story, arguments, words = COMICS[case]
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("mine")
    before = everything(folder)
    output = () if "-o" in arguments else ("-o", "page.png")
    ran = run("comic", "-q", story, *output, "--num-inference-steps", "2", "--masa-step", "1", *arguments)
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
