"""What lies in the folder where the cases of bad input are typed."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

from PIL import Image
from video.damage import damage_packet
from video.made_clips import make_clip

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
    "landmarks.json": json.dumps([{"landmarks": [{"x": 0.5, "y": 0.5, "visibility": 1}] * 33}]),
    "halpe.json": json.dumps([{"image_id": 0, "category_id": 1, "keypoints": [9, 9, 1] * 26, "score": 1}]),
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
    "letters.yaml": _HERO + "panels: [{prompt: a bear, balloons: [こんにちは]}]",
    "no_font.yaml": _HERO + "page: {font: [built-in, none.ttf]}\npanels: [{prompt: a bear, caption: Hi}]",
    "blank.yaml": _HERO + "panels: [{prompt: a bear, caption: ' '}]",
    "python.yaml": "panels: !!python/object/apply:os.system ['touch pwned']",
    "itself.yaml": "panels: &a [*a]",
    "list.yaml": "- a\n- b",
    "empty.txt": "\n",
    "script.txt": "waving # Hi\n",
    "hashes.txt": "a # b # c # d\n",
    "twice.yaml": _HERO + "panels: [{prompt: a bear}]\npanels: [{prompt: a frog}]",
    "names.txt": "[Little Red] waving # One.\n[小明] running # Two.\n",
    "nobody.txt": "[NC] [Bob] in the snow\n",
    "wide.txt": "waving ＃ Hi\n",
}


def make_folder(folder: Path, clip: Path) -> None:
    """Everything that the cases name, in `folder`; they are typed there."""
    _plain_files(folder, clip)
    _hostile_media(folder)
    _hostile_text(folder)
    _hostile_weights(folder)
    _hostile_character(folder / "hostile.zip")
    for name, text in (STORIES | POSE_FILES).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def add_pipe(folder: Path) -> None:
    """A pipe, which cannot be copied with the rest."""
    os.mkfifo(folder / "pipe.mp4")


def _plain_files(folder: Path, clip: Path) -> None:
    (folder / "clip.mp4").write_bytes(clip.read_bytes())
    (folder / "text.mp4").write_text("this is no video")
    (folder / "empty").mkdir()
    (folder / "folder.mp4").mkdir()
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("mine")
    (folder / "there.mp4").write_bytes(b"mine")
    (folder / "unknown.yaml").write_text("model: demo\nguidance: []\nsede: 3\n")
    (folder / "text.png").write_text("this is no picture")
    (folder / "empty.mp4").write_bytes(b"")
    Image.new("RGB", (48, 48)).save(folder / "black.png")
    for name in ("unread/0001.png", "twice/1.png", "twice/01.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (48, 48)).save(folder / name)
    (folder / "unread" / "0002.heic").write_bytes(b"")
    make_clip(folder / "five.mp4", size="48x48", seconds=0.2)
    damage_packet(make_clip(folder / "damaged.mp4", size="48x48", seconds=0.2), 1)
    (folder / "broken").mkdir()
    for name in ("0.png", "1.png"):
        Image.effect_noise((48, 48), 50).convert("RGB").save(folder / "broken" / name)
    (folder / "broken" / "1.png").write_bytes((folder / "broken" / "0.png").read_bytes()[:-400])


def _hostile_media(folder: Path) -> None:
    secret = folder / "clip.mp4"
    (folder / "playlist.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXTINF:1,\nfile://{secret}\n")
    (folder / "script.mp4").write_text(f"ffconcat version 1.0\nfile '{secret}'\n")
    (folder / "manifest.mp4").write_text(
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
        f'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><BaseURL>file://{secret}</BaseURL></Period></MPD>'
    )
    whole = make_clip(folder / "cut.mp4", size="48x48", options=("-g", "5", "-movflags", "+faststart"))
    whole.write_bytes(whole.read_bytes()[:-900])
    (folder / "bomb.png").write_bytes(png_of_size(60_000, 60_000))
    (folder / "program.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 48 48\n(x) run\n")


def _hostile_text(folder: Path) -> None:
    laughs = ["a: &a [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    laughs += [f"{new}: &{new} [{', '.join(['*' + old] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
    (folder / "laughs.yaml").write_text("\n".join(laughs))
    (folder / "code.yaml").write_text("model: !!python/object/apply:os.system ['touch owned']\n")
    (folder / "deep.yaml").write_text("prompt: " + "[" * 20_000)
    (folder / "twice_set.yaml").write_text("model: demo\nguidance: []\nseed: 1\nprompt: a bear\nseed: 2\n")
    (folder / "wide.yaml").write_bytes("prompt: a bear\n".encode("utf-16-le"))
    (folder / "large.yaml").write_text("# " + "x" * 200_000)
    (folder / "deep.json").write_text("[" * 100_000)


def _hostile_weights(folder: Path) -> None:
    for name in ("model.ckpt", "net.bin", "lora.pt", "model.pth"):
        (folder / name).write_bytes(b"a pickle")
    layer = "lora_unet_mid_block_attentions_0_proj_in"
    tensors = [f"{layer}.lora_down.weight", f"{layer}.lora_up.weight", f"{layer}.dora_scale"]
    header = {name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for name in tensors}
    text = json.dumps(header).encode()
    (folder / "dora.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    (folder / "header.safetensors").write_bytes((2**40).to_bytes(8, "little") + b"{" * 100)
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    flow, motion = ["diffusers", "FlowMatchEulerDiscreteScheduler"], ["diffusers", "UNetMotionModel"]
    changed = {"own-code": {"unet": ["evil", "Evil"]}, "flow": {"scheduler": flow}, "motion": {"unet": motion}}
    for name in ("only-bin", "outside", *changed):
        parts = index | changed.get(name, {})
        (folder / name / "unet").mkdir(parents=True)
        (folder / name / "model_index.json").write_text(json.dumps(parts))
    (folder / "only-bin" / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "own-code" / "unet" / "evil.py").write_text("open('owned', 'w')")
    (folder / "outside" / "unet" / "diffusion_pytorch_model-1.safetensors").write_bytes(
        (2).to_bytes(8, "little") + b"{}"
    )
    shards = {"weight_map": {"conv_in.bias": "../../clip.safetensors"}}
    (folder / "outside" / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(shards))


def png_of_size(width: int, height: int) -> bytes:
    """A few bytes that claim to be a picture of that size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    made = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


def character_index() -> dict[str, Any]:
    """Content of `character.json`; the files that it lists are empty."""
    recipe: dict[str, Any] = {"kind": "generated", "prompt": "x", "negative_prompt": "", "caption": "x", "words": []}
    recipe |= {"seed": 0, "guidance_scale": 4.0, "width": 8, "height": 8, "model": "demo", "revision": None}
    recipe |= {"variant": None, "lora": {}, "scheduler": "ddim", "num_inference_steps": 2, "controls": [], "pose": None}
    empty = {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    index = {"format_version": 1, "name": "hero", "created": "2026-01-02T00:00:00Z", "made_by": "0.1.0"}
    return {**index, "recipe": recipe, "files": {"picture.png": empty, "source.safetensors": empty}}


def _hostile_character(path: Path) -> None:
    """A whole character with a path upwards beside it."""
    index = character_index()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("character.json", json.dumps(index))
        archive.writestr("../evil.txt", "x")
        for name in index["files"]:
            archive.writestr(name, b"")
