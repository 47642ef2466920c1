"""Save Character and Load Character: what goes out comes back, and what masactrl-video made is read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save as as_tensors

from masactrl_video.cli.main import main
from masactrl_video.comfyui import characters
from masactrl_video.comfyui.poses import frames_of
from masactrl_video.errors import UserError
from masactrl_video.poses.named_poses import named_pose
from masactrl_video.sources.characters.index import PICTURE_NAME, POSE_NAME, TENSORS_NAME, CharacterIndex, Recipe
from masactrl_video.sources.characters.store import open_character, save_character
from masactrl_video.video.png import png_bytes

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
IMAGE = PIXELS[None].astype(np.float32) / 255
STANDING = frames_of([named_pose("standing")])
ABOUT = {"prompt": "a bear in a red shirt", "words": "bear, shirt"}


def body(frames: Any) -> np.ndarray:
    return np.array(frames[0]["people"][0]["pose_keypoints_2d"]).reshape(-1, 3)


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    assert characters.names(tmp_path / "none") == []
    characters.save(tmp_path, "hero", IMAGE, **ABOUT, poses=STANDING)
    assert characters.names(tmp_path) == ["hero"]
    found = characters.load(tmp_path, "hero")
    assert np.array_equal(found.image, IMAGE)
    assert (found.prompt, found.words) == ("a bear in a red shirt", "bear shirt")
    assert (found.poses[0]["canvas_width"], found.poses[0]["canvas_height"]) == (48, 48)
    side = STANDING[0]["canvas_width"]
    assert np.allclose(body(found.poses)[:, :2], body(STANDING)[:, :2] * 48 / side, atol=1e-3)


def test_a_character_is_not_replaced_unless_that_is_asked(tmp_path: Path) -> None:
    characters.save(tmp_path, "hero", IMAGE)
    before = (tmp_path / "hero" / "character.json").read_bytes()
    characters.save(tmp_path, "hero", IMAGE)  # the same again
    assert (tmp_path / "hero" / "character.json").read_bytes() == before
    was = characters.state(tmp_path, "hero")
    for changed in ({"image": 1 - IMAGE}, {"prompt": "a fox"}, {"poses": STANDING}):
        with pytest.raises(UserError, match="'hero' exists"):
            characters.save(tmp_path, "hero", **{"image": IMAGE, **changed})
    characters.save(tmp_path, "hero", 1 - IMAGE, overwrite=True)
    assert np.allclose(characters.load(tmp_path, "hero").image, 1 - IMAGE, atol=1 / 255)
    assert characters.state(tmp_path, "hero") != was


def test_one_that_masactrl_video_made_and_exported_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = Recipe(
        kind="generated", prompt="a bear waving", negative_prompt="", caption="a bear waving", words=["bear"], seed=1,
        guidance_scale=4.0, width=48, height=48, model="demo", revision=None, variant=None, lora={}, scheduler="ddim",
        num_inference_steps=4, controls=[], pose="waving",
    )  # fmt: skip
    now = datetime(2026, 1, 2, tzinfo=UTC)
    index = CharacterIndex(format_version=1, name="bear", created=now, made_by="0", recipe=recipe, files={})
    noise = as_tensors({"initial_noise": np.zeros((1, 4, 2, 2), np.float32)})
    save_character(tmp_path / "ours", index, {PICTURE_NAME: png_bytes(PIXELS), TENSORS_NAME: noise}, overwrite=False)
    (tmp_path / "comfy").mkdir()
    where = ["--characters-dir", str(tmp_path / "ours")]
    assert main(["source", "export", "bear", "-o", str(tmp_path / "comfy" / "bear.zip"), *where]) == 0
    assert characters.names(tmp_path / "comfy") == ["bear.zip"]
    for found in (characters.load(tmp_path / "ours", "bear"), characters.load(tmp_path / "comfy", "bear.zip")):
        assert np.array_equal(found.image, IMAGE)
        assert (found.prompt, found.words) == ("a bear waving", "bear")
        assert len(found.poses[0]["people"]) == 1
    assert [path.name for path in (tmp_path / "comfy").iterdir()] == ["bear.zip"]


def test_masactrl_video_exports_imports_and_lists_one_of_comfyui(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    characters.save(tmp_path / "comfy", "hero", IMAGE, **ABOUT, poses=STANDING)
    there, here = (["--characters-dir", str(tmp_path / name)] for name in ("comfy", "ours"))
    assert main(["source", "export", "hero", "-o", str(tmp_path / "hero.zip"), *there]) == 0
    assert main(["source", "import", str(tmp_path / "hero.zip"), "--name", "anna", *here]) == 0
    assert main(["source", "list", *here]) == 0
    assert main(["source", "show", "anna", *here]) == 0
    assert "anna  48x48  any model  a bear in a red shirt" in capsys.readouterr().out
    assert np.array_equal(characters.load(tmp_path / "ours", "anna").image, IMAGE)


def test_a_pose_that_nobody_knows_is_nobody(tmp_path: Path) -> None:
    characters.save(tmp_path, "hero", IMAGE)
    assert characters.load(tmp_path, "hero").poses == [{"canvas_width": 48, "canvas_height": 48, "people": []}]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": np.concatenate([IMAGE, IMAGE])}, "image: got 2 pictures; a character is one"),
        ({"name": "../hero"}, "a name has letters, digits"),
        ({"name": "hero.zip"}, "a name has letters, digits"),
        ({"words": "fox"}, "words: 'fox' is not in the prompt 'a bear"),
        ({"prompt": "", "words": "bear"}, "words: 'bear' is not in the prompt ''"),
        ({"poses": [*STANDING, *STANDING]}, "poses: got 2 frames; give the one of the picture"),
        ({"poses": [{**STANDING[0], "people": []}]}, "pose: nobody is in it"),
        ({"poses": [{**STANDING[0], "canvas_width": 100}]}, r"pose: its canvas is 100x\d+, the picture 48x48"),
    ],
)
def test_what_cannot_be_a_character_is_refused_and_nothing_is_written(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        characters.save(tmp_path / "characters", **{"name": "hero", "image": IMAGE, **ABOUT, **changes})
    assert not (tmp_path / "characters").exists()


@pytest.mark.parametrize("name", ["../hero", "villain", "villain.zip", "../hero.zip", "/hero.zip"])
def test_a_name_never_leaves_the_folder(tmp_path: Path, name: str) -> None:
    characters.save(tmp_path / "shelf", "other", IMAGE)
    characters.save(tmp_path, "hero", IMAGE)
    (tmp_path / "hero.zip").write_bytes(b"")
    with pytest.raises(UserError, match=r"letters, digits|there is none of that name|no exported file"):
        characters.load(tmp_path / "shelf", name)


@pytest.mark.parametrize(
    ("file", "data", "words"),
    [
        (POSE_NAME, b"[]", "pose.json is not what its name says"),
        (POSE_NAME, b"[" * 100_000, "pose.json is not what its name says"),
        (POSE_NAME, b'[{"people": [], "canvas_width": 48, "canvas_height": 48}]', "does not hold one pose of somebody"),
        (PICTURE_NAME, b"GIF", "picture.png is not what its name says"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, file: str, data: bytes, words: str) -> None:
    saved = characters.save(tmp_path, "hero", IMAGE, poses=STANDING)
    files = {name: saved.read(name) for name in saved.index.files} | {file: data}
    index = saved.index.model_copy(update={"name": "other"})
    with pytest.raises(UserError, match=words):
        save_character(tmp_path, index, files, overwrite=False)
    assert open_character(tmp_path, "hero").index == saved.index
