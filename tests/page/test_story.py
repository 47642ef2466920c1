"""Stories and scripts: what is read, and what is refused, with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from masactrl_video.errors import UserError
from masactrl_video.page import story
from masactrl_video.page.layout import LAYOUTS
from masactrl_video.page.script import read_script
from masactrl_video.page.story import Placement, Story
from masactrl_video.page.story_file import checked, pages_with_panels, read_story, settings_of

HERO = {"hero": {"prompt": "a bear"}}
EXAMPLES = Path(__file__).parents[2] / "examples"
PAGE = (EXAMPLES.parent / "docs" / "comics.md").read_text(encoding="utf-8")


def write(folder: Path, text: str) -> Path:
    path = folder / "script.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_storydiffusion_lines(tmp_path: Path) -> None:
    script = write(tmp_path, "waving in the meadow # Hello!\n\n[NC] a house\n[bear] [frog] dancing\nrunning\n")
    assert read_script(script, "a bear") == [
        {"prompt": "a bear, waving in the meadow", "caption": "Hello!"},
        {"prompt": "[NC] a house"},
        {"prompt": "a bear, dancing", "characters": ["bear", "frog"]},
        {"prompt": "a bear, running"},
    ]


def test_characonsist_lines(tmp_path: Path) -> None:
    script = write(tmp_path, "in the meadow,#a bear in a red shirt,#waving\n")
    assert read_script(script)[0]["prompt"] == "a bear in a red shirt, waving, in the meadow"
    story = read_story(script)
    assert (story.characters["hero"].prompt, len(story.panels)) == ("a bear in a red shirt", 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no line in it"),
        ("a\n# b", "line 2: text is missing before or after a #"),
        ("a # b # c # d", "line 1: 3 times #"),
        ("a", "say who is in it"),
    ],
)
def test_scripts_that_cannot_be_read_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_story(write(tmp_path, text))


def test_a_plain_script_is_a_story_of_one_character(tmp_path: Path) -> None:
    story = read_story(write(tmp_path, "waving # Hi\n[NC] a house"), {"source": "saved"})
    assert story.characters["hero"].source == "saved"
    first, second = story.panels
    assert (first.characters, second.characters, second.prompt) == (None, {}, "a house")
    assert first.caption is not None and first.caption.text == "Hi"


def test_a_story_may_keep_its_panels_in_a_script(tmp_path: Path) -> None:
    write(tmp_path, "[hero] waving\n[NC] a house # Empty.")
    story = checked({"characters": HERO, "script": "script.txt"}, "story")
    (page,) = pages_with_panels(story, tmp_path / "story.yaml")
    assert [panel.characters for panel in page.panels] == [{"hero": Placement()}, {}]


def test_short_forms_stand_for_long_ones() -> None:
    panel = {"prompt": "x", "characters": ["hero"], "caption": "c", "balloons": ["b"]}
    story = checked({"characters": HERO, "panels": [panel], "layout": [[2, 1], {"height": 2, "widths": [1]}]}, "s")
    (found,) = story.panels
    assert found.characters == {"hero": Placement()}
    assert (found.caption and found.caption.text, found.balloons[0].text) == ("c", "b")
    assert [(row.height, row.widths) for row in story.layout] == [(1, [2, 1]), (2, [1])]  # type: ignore[union-attr]


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "s: give one of panels, pages and script, got none of them"),
    ({"panels": [{"prompt": "x"}], "script": "a"}, "got panels and script"),
    ({"panels": [{"promt": "x"}]}, r"panels\.1\.prompt: missing \(and 1 more\)"),
    ({"panels": [{"prompt": "x", "posse": "y"}]}, r"panels\.1\.posse: there is no such key"),
    ({"panels": [{"prompt": "x"}], "characters": {"../x": {"prompt": "y"}}}, r"characters\.\.\./x.*pattern"),
    ({"panels": [{"prompt": "x"}], "characters": {"a": {}}}, r"characters\.a: give one of prompt, image and source"),
    ({"panels": [{"prompt": "x"}], "characters": {"a": {"prompt": "y", "image": "z"}}}, "got prompt and image"),
    ({"panels": [{"prompt": "x"}], "characters": {"a": {"image": "z", "seed": 1}}}, "seed has no effect beside image"),
    ({"panels": [{"prompt": "x"}], "characters": {"a": {"image": "z", "words": ["b"]}}}, "a picture needs a text"),
    ({"panels": [{"prompt": "[NC] x", "pose": "waving"}]}, r"panels\.1: \[NC\] is a panel without characters"),
    ({"panels": [{"prompt": "x", "characters": {"a": {"box": [0.5, 0, 0.5, 1]}}}]}, "box: got .* write left, top"),
    (
        {"panels": [{"prompt": "x", "balloons": [{"text": "x" * 1001}]}]},
        r"panels\.1\.balloons\.1\.text: .*at most 1000",
    ),
    ({"panels": [{"prompt": "x"}], "page": {"background": "red"}}, r"page\.background: got 'red'"),
    ({"panels": [{"prompt": "x"}], "page": {"min_text_size": 90}}, "min_text_size 90 is more than text_size 30"),
    ({"pages": [{"panels": [{"prompt": "x"}]}], "layout": "2x2"}, "layout: each of pages has its own"),
    ({"panels": [{"prompt": "x"}], "ground": "other"}, r"ground: got 'other'"),
    ({"panels": [{"prompt": "x"}], "layout": [[1, -1]]}, r"layout\..*greater than 0"),
]


@pytest.mark.parametrize(("data", "words"), BAD)
def test_stories_that_cannot_be_are_refused_with_the_place(data: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        checked(data, "s")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"prompt": "x"}, r"settings\.prompt: not for a comic as a whole"),
        ({"frame_rate": 3}, r"settings\.frame_rate: not for"),
        ({"sede": 3}, "sede: there is no such setting"),
        ({"attention_mode": "masked"}, "give the characters words instead"),
        ({"guidance": ["canny"]}, "panels are guided by poses"),
        ({"seed": -1}, "seed: got -1"),
    ],
)
def test_settings_that_are_not_a_comics_are_refused(settings: dict[str, Any], words: str) -> None:
    story = checked({"panels": [{"prompt": "[NC] x"}], "settings": settings}, "s")
    with pytest.raises(UserError, match=words):
        settings_of(story, {}, Path("s.yaml"))


def test_the_command_lines_settings_come_after_the_storys() -> None:
    story = checked({"panels": [{"prompt": "[NC] x"}], "settings": {"seed": 3, "mask_threshold": 0.3}}, "s")
    found = settings_of(story, {"seed": 4}, Path("s.yaml"))
    assert (found.seed, found.mask_threshold, found.num_inference_steps) == (4, 0.3, 20)


def test_yaml_that_refers_to_itself_or_explodes_is_refused(tmp_path: Path) -> None:
    story = tmp_path / "story.yaml"
    story.write_text("panels: &a [*a]")
    with pytest.raises(UserError):
        read_story(story)
    lines = "".join(f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]\n" for n in range(1, 9))
    story.write_text(f"b0: &b0 x\n{lines}panels: *b8\n")
    with pytest.raises(UserError) as caught:
        read_story(story)
    assert len(str(caught.value)) < 1000
    story.write_text("panels: !!python/object/apply:os.system ['true']")
    with pytest.raises(UserError, match="not YAML"):
        read_story(story)


@pytest.mark.parametrize("path", [EXAMPLES / "comic.yaml", EXAMPLES / "comic.txt"])
def test_the_examples_are_stories(path: Path) -> None:
    story = read_story(path, {"prompt": "a bear"} if path.suffix == ".txt" else None)
    assert isinstance(story, Story) and len(story.panels) >= 4


@pytest.mark.parametrize("record", [Story, story.Character, story.Panel, Placement, story.Balloon, story.PageStyle])
def test_the_page_on_comics_has_every_key_and_layout(record: type[story.Story]) -> None:
    assert [name for name in (*record.model_fields, *LAYOUTS) if f"`{name}`" not in PAGE] == []
