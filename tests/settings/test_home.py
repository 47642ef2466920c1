"""`~` is a home in every path setting: from YAML, from flags in each of their forms, and in stories."""

from __future__ import annotations

import argparse
import pwd
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from masactrl_video.cache.manage import default_cache_root
from masactrl_video.cli.main import COMMANDS
from masactrl_video.cli.options import Parser, add_settings, settings_from
from masactrl_video.errors import UserError
from masactrl_video.model.loading.location import local_path
from masactrl_video.page.story import Character, PageStyle, Panel, Placement, Story
from masactrl_video.page.story_file import read_story
from masactrl_video.settings.control import Control
from masactrl_video.settings.home import MAY_BE_AT_HOME, at_home
from masactrl_video.settings.presets import read_config, resolve
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.stills import StillSettings, resolve_stills
from masactrl_video.sources.characters.store import default_root

NAMES = {"sources", "source_pose", "pose_detector", "model", "single_file_config", "lora", "taesd", "pose"}
"""Fields of text that may be a path; all fields of class Path are paths."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def holds_paths(annotation: Any) -> bool:
    return annotation is Path or any(holds_paths(part) for part in get_args(annotation))


@pytest.mark.parametrize("record", [Settings, StillSettings, Control, Story, Character, Placement, Panel, PageStyle])
def test_every_field_that_is_or_may_be_a_path_is_marked(record: type[BaseModel]) -> None:
    fields = record.model_fields.items()
    wanted = {name for name, field in fields if holds_paths(field.annotation) or name in NAMES}
    assert {name for name, field in fields if MAY_BE_AT_HOME in field.metadata} == wanted


GIVEN: dict[str, Any] = {
    **dict.fromkeys(("clip", "pose_detector", "single_file_config", "source_image", "taesd"), "~/x.png"),
    **dict.fromkeys(("retarget", "model", "cache_dir", "characters_dir", "source_mask", "target_masks"), "~/x.json"),
    "guidance_video": {"canny": "~/x.mp4"},
    "lora": {"~/x.safetensors": 0.5},
}
BESIDE = {"attention_mode": "masked", "source_mask": "m.png", "target_masks": "m", "scheduler": "ddim"}


def at(value: Any) -> Any:
    """What a value of `GIVEN` becomes, as YAML data."""
    if isinstance(value, dict):
        return {at(name): at(item) for name, item in value.items()}
    return value.replace("~", str(Path.home())) if isinstance(value, str) else value


@pytest.mark.parametrize("name", GIVEN)
def test_in_yaml(name: str, home: Path) -> None:
    beside = BESIDE if name in BESIDE else {}
    base = {"clip": "c.mp4", "model": "demo", "guidance": ["canny"], **beside}
    control = {"canny": {"kind": "canny", "adapter": "controlnet", "model": "~/net", "single_file_config": "~/c"}}
    (home / "c.yaml").write_text(yaml.safe_dump({**base, "controls": control, name: GIVEN[name]}))
    data = resolve(read_config(home / "c.yaml"), {}).as_yaml_data()
    assert data[name] == at(GIVEN[name])
    assert (data["controls"]["canny"]["model"], data["controls"]["canny"]["single_file_config"]) == (
        f"{home}/net",
        f"{home}/c",
    )


@pytest.mark.parametrize("name", sorted({*GIVEN, "pose_json"} - {"clip"}))
@pytest.mark.parametrize("joined", [True, False])
def test_in_a_flag(name: str, joined: bool, home: Path) -> None:
    value, given = GIVEN.get(name, "~/x.json"), "~/x.json"
    if isinstance(value, dict):
        given = "=".join(map(str, *value.items()))
    flag = "--" + name.replace("_", "-")
    beside = ["--attention-mode", "masked", "--mask-words", "x"] if name in BESIDE else []
    beside += ["--guidance", "pose"] if name in ("retarget", "pose_detector", "pose_json") else []
    parser = Parser(prog="masactrl-video", allow_abbrev=False)
    add_settings(parser)
    typed = [f"{flag}={given}"] if joined else [flag, given]
    found = settings_from(parser.parse_args(["~/c.mp4", *beside, *typed])).as_yaml_data()
    assert found["clip"] == f"{home}/c.mp4"
    assert found[name] == at(value if isinstance(value, dict) else given)


def test_in_pairs_of_networks(home: Path) -> None:
    parser = Parser(prog="masactrl-video", allow_abbrev=False)
    add_settings(parser)
    found = settings_from(parser.parse_args(["c.mp4", "--controlnet", "canny=~/cn", "--t2i-adapter=pose=~/t"]))
    assert [found.controls[name].model for name in found.guidance] == [f"{home}/cn", f"{home}/t"]


def test_in_pictures_of_targets(home: Path) -> None:
    pictures = {"source_guidance": {"pose": "~/s.png"}, "target_guidance": {"pose": ["~/a.png", "waving"]}}
    control = {"pose": {"kind": "pose", "adapter": "controlnet", "model": "org/name"}}
    found = resolve_stills({"model": "demo", "controls": control, "prompts": ["a", "b"]}, pictures)
    assert found.source_guidance == {"pose": home / "s.png"}
    assert found.target_guidance == {"pose": [home / "a.png", Path("waving")]}


def test_in_a_story(home: Path) -> None:
    (home / "story.yaml").write_text(
        "page: {font: ~/f.ttf}\n"
        "settings: {cache_dir: ~/cache}\n"
        "characters:\n  a: {image: ~/a.png}\n  b: {prompt: x, pose: ~/b.json}\n"
        "panels: [{prompt: x, pose: ~/p.json}, {prompt: x, characters: {a: {pose: ~/c.json}}}]\n"
    )
    story = read_story(home / "story.yaml")
    assert story.page.font == [home / "f.ttf"]
    assert (story.characters["a"].image, story.characters["b"].pose) == (home / "a.png", f"{home}/b.json")
    first, second = story.panels
    assert second.characters is not None
    assert (first.pose, second.characters["a"].pose) == (f"{home}/p.json", f"{home}/c.json")
    (home / "other.yaml").write_text("script: ~/s.txt\n")
    assert read_story(home / "other.yaml").script == home / "s.txt"


def every_parser() -> dict[str, Parser]:
    """Command, with its action if it has some → its parser."""
    from importlib import import_module

    found = {}
    for command in COMMANDS:
        parser = Parser(prog=command, allow_abbrev=False)
        import_module(f"masactrl_video.cli.{command}").add_arguments(parser)
        found[command] = parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                found |= {f"{command} {name}": sub for name, sub in action.choices.items()}
    return found


def test_paths_of_every_command_are_read_by_one_parser(home: Path) -> None:
    for name, parser in every_parser().items():
        assert isinstance(parser, Parser), name
        for action in parser._actions:
            if action.metavar in ("PATH", "FILE") and action.type is None:
                assert MAY_BE_AT_HOME in StillSettings.model_fields[action.dest].metadata, (name, action.dest)
    parser = Parser(prog="x", allow_abbrev=False)
    parser.add_argument("places", nargs="*", type=Path)
    parser.add_argument("--output", type=Path)
    found = parser.parse_args(["~/a", "b", "--output=~/x"])
    assert (found.places, found.output) == ([home / "a", Path("b")], home / "x")


def test_what_is_no_path_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert [at_home(name) for name in ("org/name", "demo", "a~b", "waving", "./~/x")] == [
        *("org/name", "demo", "a~b", "waving", "./~/x"),
    ]
    settings = resolve({"clip": "c", "model": "demo", "guidance": []}, {"prompt": "~/x", "negative_prompt": "~"})
    assert (settings.prompt, settings.negative_prompt) == ("~/x", "~")


def test_homes_of_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert at_home("~root/x") == f"{pwd.getpwnam('root').pw_dir}/x"
    assert at_home("~nobody-is-called-so.mp4") == "~nobody-is-called-so.mp4"
    with pytest.raises(UserError, match=r"there is no user 'nobody-so'; write \./~nobody-so/x"):
        at_home("~nobody-so/x")
    with pytest.raises(UserError, match="there is no user 'nobody-so'"):
        resolve({"clip": "c", "model": "demo", "guidance": []}, {"cache_dir": "~nobody-so/x"})
    (tmp_path / "~nobody-so").mkdir()
    assert at_home("~nobody-so/x") == "~nobody-so/x"


def test_in_the_environment_and_in_names_of_models(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASACTRL_VIDEO_CACHE", "~/c")
    monkeypatch.setenv("MASACTRL_VIDEO_CHARACTERS", "~/d")
    (home / "model").mkdir()
    assert (default_cache_root(), default_root()) == (home / "c", home / "d")
    assert local_path("~/model", "model") == home / "model"
