"""Scripts in StoryDiffusion's and CharaConsist's forms, read as those tools read them, or refused by the form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from masactrl_video.errors import UserError
from masactrl_video.page.script import read_cast, read_script
from masactrl_video.page.story import Panel, Placement, Story
from masactrl_video.page.story_file import checked, pages_with_panels, read_story

BOB, ALICE = "A man, wearing a black suit", "a woman, wearing a white shirt"
CAST = f"[Bob] {BOB}\n[Alice]{ALICE}"


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "script.txt"
    path.write_text(text, encoding=encoding)
    return path


def panel_of(folder: Path, line: str) -> tuple[str, str | None]:
    (panel,) = read_script(write(folder, line))
    return panel["prompt"], panel.get("caption")


def refusal(path: Path, **flags: Any) -> str:
    with pytest.raises(UserError) as caught:
        read_story(path, flags)
    assert "\n" not in str(caught.value)
    assert "[key]" not in str(caught.value)
    return str(caught.value)


def summary(story: Story) -> list[tuple[str, list[str] | None, str | None]]:
    return [
        (panel.prompt, None if panel.characters is None else [*panel.characters], panel.caption and panel.caption.text)
        for panel in story.panels
    ]


@pytest.mark.parametrize(
    ("line", "prompt", "caption"),
    [
        ("waving in the meadow # We are #1!", "waving in the meadow", "We are #1!"),
        ("wearing shirt #7 # The team", "wearing shirt #7", "The team"),
        ("coding # I love C#", "coding", "I love C#"),
        ("waving # #happy #bear", "waving", "#happy #bear"),
        ("waving #", "waving", None),
        ("waving #Hello", "waving", "Hello"),
        ("waving, #Hello", "waving", "Hello"),
        ("at home#Hello", "at home", "Hello"),
        ("waving # [Bob] invited [Alice]", "waving", "[Bob] invited [Alice]"),
        ("in the meadow,#a bear,#waving", "a bear, waving, in the meadow", None),
        ("in the meadow, # a bear, # waving", "a bear, waving, in the meadow", None),
        ("在草地上，#一只熊，#挥手", "一只熊, 挥手, 在草地上", None),
        ("in a hall,#a bear,#holding a sign with #1 on it", "a bear, holding a sign with #1 on it, in a hall", None),
    ],
)
def test_where_the_caption_begins(tmp_path: Path, line: str, prompt: str, caption: str | None) -> None:
    assert panel_of(tmp_path, line) == (prompt, caption)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a # b # c", "2 times #; write `prompt # caption`, or `background, #character, #action`"),
        ("a # b # c # d", "3 times #"),
        ("a, #b, #c, #d", "3 times #"),
        ("at home #at home, we are #1", "2 times #"),
        ("# Chapter 1", "text is missing before or after a #"),
        ("#", "text is missing"),
        ("[NC]", r"\[NC\] alone"),
        ("[NC] [Bob] in the snow", r"\[NC\] is a panel without characters, and \[Bob\] names one"),
        ("【NC】 in the snow", "'【' would stay in the prompt"),
        ("waving ＃ Hello", "'＃' would stay in the prompt"),
        ("[Bob waving", r"a \[ or \] without the other"),
    ],
)
def test_other_forms_are_refused_by_their_line(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(UserError, match=f"line 2: {words}"):
        read_script(write(tmp_path, f"waving\n{line}"))


@pytest.mark.parametrize("line", ["[NC] the snow # Cold.", "the snow [NC] # Cold.", "[NC]the snow #Cold."])
def test_nobody_is_in_a_panel_that_says_so_anywhere(tmp_path: Path, line: str) -> None:
    assert summary(read_story(write(tmp_path, line))) == [("the snow", [], "Cold.")]


@pytest.mark.parametrize("name", ["Little Red", "小明", "Zoë", "Mr. Fox", "O'Neil", "R2-D2", "1999", "No", "นก"])
def test_the_only_character_goes_by_the_name_that_the_script_gives_it(tmp_path: Path, name: str) -> None:
    script = write(tmp_path, f"[{name}] waving # One.\nthe dog and [ {name} ] running\n")
    story = read_story(script, {"prompt": "a bear"})
    assert [*story.characters] == [name]
    assert summary(story) == [
        ("a bear, waving", [name], "One."),
        ("the dog and a bear running", [name], None),
    ]


def test_names_that_nobody_describes_are_refused(tmp_path: Path) -> None:
    script = write(tmp_path, "[Little Red] waving in the meadow # One.\n[小明] running in the snow # Two.\n")
    assert "[Little Red] is described nowhere" in refusal(script)
    assert "names [Little Red], [小明], and one character is described" in refusal(script, prompt="a bear")
    assert "names [Little Red], [小明]" in refusal(script, source="saved")


def test_emphasis_of_other_programs_is_no_name(tmp_path: Path) -> None:
    assert "names [red]" in refusal(write(tmp_path, "a bear in a [red] shirt"), prompt="a bear")


def test_storydiffusions_two_fields(tmp_path: Path) -> None:
    script = write(
        tmp_path,
        "[Bob] at home, read new paper #at home, The newspaper says there is a treasure house.\n"
        "[Alice] is make a call at home # [Bob] invited [Alice] to join him on an adventure.\n"
        "[NC]A tiger appeared in the forest, at night \n"
        "[Bob]  and [Alice] running very fast, in the forest\n",
    )
    story = read_story(script, {"prompt": CAST})
    assert {name: who.prompt for name, who in story.characters.items()} == {"Bob": BOB, "Alice": ALICE}
    assert summary(story) == [
        (f"{BOB}, at home, read new paper", ["Bob"], "at home, The newspaper says there is a treasure house."),
        (f"{ALICE}, is make a call at home", ["Alice"], "[Bob] invited [Alice] to join him on an adventure."),
        ("A tiger appeared in the forest, at night", [], None),
        (f"{BOB} and {ALICE} running very fast, in the forest", ["Bob", "Alice"], None),
    ]
    assert story.panels[3].characters == {"Bob": Placement(words=[BOB]), "Alice": Placement(words=[ALICE])}


def test_descriptions_may_be_the_first_paragraph(tmp_path: Path) -> None:
    story = read_story(write(tmp_path, f"{CAST}\n\n[Bob] at home # Hi\n\n[Alice] running"))
    assert [*story.characters] == ["Bob", "Alice"]
    assert summary(story) == [(f"{BOB}, at home", ["Bob"], "Hi"), (f"{ALICE}, running", ["Alice"], None)]


@pytest.mark.parametrize(
    "text",
    [
        f"{CAST}\n[Bob] at home",  # no empty line: which are panels?
        f"{CAST}\n\n[Eve] at home",
        "[Bob] at home # Hi\n\n[Bob] running",
        "[Bob] at home\nthe sea\n\n[Bob] running",
    ],
)
def test_a_first_paragraph_that_describes_not_all_names_is_refused(tmp_path: Path, text: str) -> None:
    assert "is described nowhere; give --prompt, or begin the script" in refusal(write(tmp_path, text))


def test_a_character_is_described_once(tmp_path: Path) -> None:
    assert read_cast("a bear") is None
    with pytest.raises(UserError, match=r"\[Bob\] is described twice"):
        read_cast("[Bob] a man\n[ Bob ] a bear")


def test_characonsists_paragraphs_have_a_character_each(tmp_path: Path) -> None:
    text = "at home,#a bear,#waving\nat sea,#a bear, wet,#swimming\n\nat home,#a frog,#waving\n\nat sea,#a bear,#up"
    story = read_story(write(tmp_path, text))
    assert {name: who.prompt for name, who in story.characters.items()} == {"hero": "a bear", "hero-2": "a frog"}
    assert [names for _, names, _ in summary(story)] == [["hero"], ["hero"], ["hero-2"], ["hero"]]


def in_story(folder: Path, characters: dict[str, Any], line: str) -> Panel:
    write(folder, line)
    story = checked({"characters": characters, "script": "script.txt"}, "story")
    ((panel,),) = [page.panels for page in pages_with_panels(story, folder / "story.yaml")]
    return panel


def test_a_storys_characters_stand_in_the_places_of_their_names(tmp_path: Path) -> None:
    characters = {
        "Little Red": {"prompt": "a girl in red", "words": ["girl"]},
        "wolf": {"image": "w.png", "caption": "a wolf"},
        "saved": {"source": "saved"},
    }
    for line, prompt in {
        "[Little Red] waving": "a girl in red, waving",
        "[Little Red] a girl dancing": "a girl dancing",
        "[wolf] behind a tree": "a wolf, behind a tree",
        "[saved] swimming": "swimming",
        "a tree, [Little  Red] before it": "a tree, a girl in red before it",
        "[Little Red] and [wolf], running.": "a girl in red and a wolf, running.",
        "the friends of [saved].": "the friends of saved.",
    }.items():
        assert in_story(tmp_path, characters, line).prompt == prompt
    with pytest.raises(UserError, match=r"line 1: \[red\]: there is no character of that name; there are: Little"):
        in_story(tmp_path, characters, "[Little Red] in a [red] shirt")


def test_a_name_is_the_same_however_it_is_composed(tmp_path: Path) -> None:
    panel = in_story(tmp_path, {"Zo\u00eb": {"prompt": "a girl"}}, "[Zoe\u0308] waving")
    assert [*(panel.characters or ())] == ["Zo\u00eb"]


@pytest.mark.parametrize("name", ["../x", ".x", "a/b", "a\\b", "x.", "", "a" * 65, "\U00020000" * 60, "a\nb"])
def test_names_become_parts_of_file_names(name: str) -> None:
    with pytest.raises(UserError, match="characters"):
        checked({"characters": {name: {"prompt": "x"}}, "panels": [{"prompt": "x"}]}, "s")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_scripts_of_other_editors_are_read(tmp_path: Path, encoding: str, end: str) -> None:
    path = tmp_path / "script.txt"
    path.write_bytes(end.join(["[小明] waving # Bär.", "", "running"]).encode(encoding))
    assert summary(read_story(path, {"prompt": "a bear"})) == [
        ("a bear, waving", ["小明"], "Bär."),
        ("a bear, running", None, None),
    ]
