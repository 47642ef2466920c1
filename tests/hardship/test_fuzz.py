"""Files that somebody made up: no traceback, no hang, no program started, no file outside."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from cli.bad_files import POSE_FILES, character_index
from hardship.hostile import as_json, as_yaml, command, files_like, nothing_bad, try_many

from masactrl_video.cache.index import CHECKSUM_NAME, INDEX_NAME, checksum_text
from masactrl_video.cache.making import making_path
from masactrl_video.cache.store import CacheWriter, open_entry
from masactrl_video.controls.store import GuidanceFrames, GuidanceIndex
from masactrl_video.errors import UserError
from masactrl_video.jobs.comic.plan import plan_panels
from masactrl_video.jobs.run.folder import MARK_NAME, read_state
from masactrl_video.model.loading.checks import pipeline_class
from masactrl_video.page.story_file import pages_with_panels, read_story, settings_of
from masactrl_video.settings.presets import read_preset

Figure = Callable[[str, object], None]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder; beside it lies what nobody may touch."""
    (tmp_path / "secret.json").write_text("{}")
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MASACTRL_VIDEO_CACHE", str(folder / "cache"))
    return folder


def tried(count: int, what: str, record_property: Figure) -> None:
    record_property("figure", f"made-up {what} | {count} | no traceback, no hang, no file outside")


def test_configurations(place: Path, full: bool, record_property: Figure) -> None:
    def check(data: bytes) -> None:
        (place / "config.yaml").write_bytes(data)
        with nothing_bad(place):
            assert command("render", "-q", "none.mp4", "--config", "config.yaml", "-o", "out.mp4") == 2
        assert [path.name for path in place.iterdir()] == ["config.yaml"]

    good = {**read_preset("sd15-controlnet"), "prompt": "a bear", "lora": {"a.safetensors": 0.5}, "seed": 3}
    tried(try_many(files_like(good, as_yaml), check, full), "configurations", record_property)


def test_pose_json(place: Path, full: bool, record_property: Figure) -> None:
    def check(data: bytes) -> None:
        (place / "poses.json").write_bytes(data)
        with nothing_bad(place):
            command("pose", "convert", "-q", "poses.json", "-o", "out.json", "--overwrite")
        assert {path.name for path in place.iterdir()} in ({"poses.json"}, {"poses.json", "out.json", ".out.json.run"})

    good = json.loads(POSE_FILES["poses.json"])[:2]
    tried(try_many(files_like(good, as_json), check, full), "pose files", record_property)


def test_stories(place: Path, full: bool, record_property: Figure) -> None:
    good = yaml.safe_load(
        "characters: {a: {prompt: a bear, words: [bear]}, b: {prompt: a frog, words: [frog]}}\n"
        "layout: wide-top\nsettings: {seed: 2}\npage: {width: 600, height: 800}\n"
        "panels: [{prompt: a bear, characters: [a], pose: waving, caption: Hi, balloons: [{text: Ho, by: a}]},"
        " {prompt: a bear and a frog, characters: {a: {}, b: {box: [0.5, 0, 1, 1], pose: running}}},"
        " {prompt: a house, characters: {}}]"
    )

    def check(data: bytes) -> None:
        path = place / "story.yaml"
        path.write_bytes(data)
        with nothing_bad(place), suppress(UserError):
            story = read_story(path)
            plan_panels(story, pages_with_panels(story, path), place)
            settings_of(story, {}, path)
        assert [path.name for path in place.iterdir()] == ["story.yaml"]

    (place / "story.yaml").write_text(yaml.safe_dump(good))
    story = read_story(place / "story.yaml")
    assert len(plan_panels(story, pages_with_panels(story, place / "story.yaml"), place)) == 3
    tried(try_many(files_like(good, as_yaml), check, full), "stories", record_property)


def test_cache_indices(place: Path, full: bool, record_property: Figure) -> None:
    """The index is signed anew: only its content is hostile."""
    entry = _cache_entry(place / "pristine")
    good = json.loads((entry / INDEX_NAME).read_text())

    def check(data: bytes) -> None:
        shutil.rmtree(place / "cache", ignore_errors=True)
        shutil.copytree(entry, place / "cache" / entry.name)
        (place / "cache" / entry.name / INDEX_NAME).write_bytes(data)
        (place / "cache" / entry.name / CHECKSUM_NAME).write_text(checksum_text(data))
        making_path(place / "cache", entry.name).write_bytes(data)
        with nothing_bad(place / "cache"):
            command("cache", "list")
            command("cache", "verify")
            command("cache", "show", entry.name)
            with suppress(UserError):
                opened = open_entry(place / "cache", entry.name)
                assert opened is not None
                assert {name: sorted(opened.read(Path(name).stem)) for name in opened.index.files}

    tried(try_many(files_like(good, as_json), check, full), "cache indices", record_property)


def _cache_entry(root: Path) -> Path:
    import torch

    about = {"branches": ("shared",), "timesteps": (1.0,), "layers": ("l",)}
    with CacheWriter(root, determined_by={"model": "x"}, expected_bytes=8, **about) as writer:
        writer.write_step(0, {"l.key": torch.zeros(2)})
    (entry,) = [path for path in root.iterdir() if path.is_dir()]
    return entry


def test_saved_characters(place: Path, full: bool, record_property: Figure) -> None:
    good = character_index()

    def check(data: bytes) -> None:
        with zipfile.ZipFile(place / "hero.zip", "w") as archive:
            archive.writestr("character.json", data)
            for name in good["files"]:
                archive.writestr(name, b"")
        with nothing_bad(place / "characters"):
            command("source", "import", "hero.zip", "--characters-dir", "characters", "--overwrite")
            command("source", "list", "--characters-dir", "characters")

    tried(try_many(files_like(good, as_json), check, full), "saved characters", record_property)


def test_what_lies_in_folders(place: Path, full: bool, record_property: Figure) -> None:
    """The index of guidance, the parts of a model, and the mark of an unfinished run."""
    guidance = GuidanceIndex(key="k", kind="canny", frame_count=1, width_px=8, height_px=8).model_dump()
    model = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}

    def check(data: bytes) -> None:
        for name in ("index.json", "model_index.json", MARK_NAME):
            (place / name).write_bytes(data)
        with nothing_bad(place):
            with suppress(UserError):
                GuidanceFrames.open(place).check_whole()
            with suppress(UserError):
                pipeline_class("model", place / "model_index.json")
            assert read_state(place) in (None, "discarding", "rendering")

    inputs = files_like({**guidance, **model, "state": "rendering", "pid": 1}, as_json)
    tried(try_many(inputs, check, full), "files of guidance, models and runs", record_property)
