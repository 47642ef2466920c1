"""A story's file in, a checked story out: YAML, or a plain text script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from masactrl_video.errors import UserError
from masactrl_video.page.script import Line, panels_of, read_cast, read_lines, read_script
from masactrl_video.page.story import Character, Page, Panel, Story
from masactrl_video.settings.fields import settings_for, settings_where
from masactrl_video.settings.inactive import NO_MASK_BY_WORDS
from masactrl_video.settings.modes import needs_of
from masactrl_video.settings.presets import DEFAULT_PRESET, read_config, read_preset, resolve, short
from masactrl_video.settings.settings import Settings

_YAML = (".yaml", ".yml")


def read_story(path: Path, character: Mapping[str, Any] | None = None) -> Story:
    """The story of a file: `.yaml` or `.yml`, else a plain text script.

    Args:
        character: of a plain text script: the entries of its only character (`prompt`, `image` or `source`, …); a
            prompt of lines `[Name] what it looks like` describes several.

    Raises:
        UserError: the file cannot be read, or something in it is unknown or not allowed.
    """
    if path.suffix.lower() not in _YAML:
        return _scripted(path, dict(character or {}))
    if character:
        raise UserError(
            f"{path}: a story names its characters itself; leave the character's flags out, or give a script"
        )
    return checked(read_config(path, Story), str(path))


def checked(data: Mapping[str, Any], where: str) -> Story:
    """A story from plain data.

    Raises:
        UserError: the first thing that is wrong, with its place in the story.
    """
    try:
        return Story.model_validate(dict(data))
    except ValidationError as error:
        raise UserError(f"{where}: {_one_line(error)}") from error
    except RecursionError as error:
        raise UserError(f"{where}: it refers to itself") from error


def pages_with_panels(story: Story, path: Path) -> list[Page]:
    """What of the story is on pages: panels in order, with the layout that they share.

    Raises:
        UserError: the story's script cannot be read.
    """
    if story.pages:
        return list(story.pages)
    panels = list(story.panels)
    if story.script is not None:
        script = path.parent / story.script
        read = read_script(script, cast=story.characters)
        panels = [_checked_panel(panel, f"{script}, panel {n}") for n, panel in enumerate(read, 1)]
    return [Page.model_construct(layout=story.layout, panels=panels)]


def settings_of(story: Story, changes: Mapping[str, Any], where: Path) -> Settings:
    """The settings that all panels share: preset, then the story's own, then `changes` from the command line.

    Raises:
        UserError: a setting that there is not, or that belongs to a panel.
    """
    for name in story.settings:
        if name in Settings.model_fields and name not in settings_for(Settings, "story"):
            raise UserError(
                f"{where}: settings.{name}: not for a comic as a whole; leave it out, and see docs/comics.md for what "
                "characters and panels have of their own"
            )
    changed = {**story.settings, **changes}
    if "masks" in needs_of(mode := changed.get("attention_mode", "source")):
        raise UserError(f"{where}: settings.attention_mode: give the characters words instead of mode {mode}")
    base = {**read_preset(str(story.preset or DEFAULT_PRESET)), "clip": str(where), "side_by_side": False}
    of_regions = settings_where(Settings, lambda about: NO_MASK_BY_WORDS in about.inactive)
    base |= {name: changed.pop(name) for name in of_regions if name in changed}  # they act where characters have words
    settings = resolve(base | _posed(base, changed), changed)
    if "guidance" in changed and [settings.controls[name].kind for name in settings.guidance] != ["pose"]:
        raise UserError(
            f"{where}: settings.guidance: panels are guided by poses; name one control of kind pose, or leave it out"
        )
    return settings


def _posed(base: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """The network for poses, where keys go with the limbs: panels are guided by no other."""
    controls = {**base.get("controls", {}), **(changed.get("controls") or {})}
    names = [name for name, one in controls.items() if isinstance(one, dict) and one.get("kind") == "pose"]
    return {"guidance": names[:1]} if changed.get("source_positions") == "pose" and "guidance" not in changed else {}


def _scripted(path: Path, flags: dict[str, Any]) -> Story:
    """A story of a plain text script.

    Its characters are those of the flags, of a `[Name] description` line for each (in the flag, as in StoryDiffusion,
    or as the script's first paragraph), or of CharaConsist's form.
    """
    lines = read_lines(path)
    cast = _cast_of_flags(path, flags, lines)
    if not flags and any(line.names for line in lines):
        cast, lines = _cast_of_first_paragraph(path, lines)
    elif not flags:
        cast = _cast_of_parts(lines)
    if not cast and not all(line.nobody for line in lines):
        raise UserError(f"{path}: say who is in it: --prompt, --source-image or --source-name")
    only = next(iter(cast.values())) if len(cast) == 1 else {}
    panels = panels_of(lines, only.get("prompt") if flags else None, _checked_cast(cast, path))
    for panel, line in zip(panels, lines, strict=True):
        text = panel.pop("character_text", None)
        if len(cast) > 1 and text is not None and "characters" not in panel and not flags:
            panel["characters"] = [_hero_of(line, lines, cast)]
        elif len(panel.get("characters", ())) > 1:  # told apart by their descriptions, which stand in the prompt
            panel["characters"] = {name: {"words": [cast[name]["prompt"]]} for name in panel["characters"]}
    return checked({"characters": cast, "panels": panels}, str(path))


def _cast_of_flags(path: Path, flags: dict[str, Any], lines: Sequence[Line]) -> dict[str, dict[str, Any]]:
    """Of the flags: characters by name, or the only one, by the name that the script gives it."""
    described = read_cast(flags.get("prompt", ""))
    if described is not None and len(flags) == 1:
        return {name: {"prompt": text} for name, text in described.items()}
    names = list(dict.fromkeys(name for line in lines for name in line.names))
    if not flags or not names:
        return {"hero": flags} if flags else {}
    if len(names) == 1 and any(line.leading_names for line in lines):
        return {names[0]: flags}
    who = ", ".join(f"[{name}]" for name in names[:4]) + (", …" if len(names) > 4 else "")
    raise UserError(
        f"{path}: names {who}, and one character is described; give --prompt a line `[Name] what it looks like` for "
        "each, or characters and script in a story (.yaml)"
    )


def _cast_of_first_paragraph(path: Path, lines: list[Line]) -> tuple[dict[str, dict[str, Any]], list[Line]]:
    """StoryDiffusion's descriptions, where the script begins with them and an empty line follows; and the rest."""
    first = [line for line in lines if line.paragraph == lines[0].paragraph]
    rest = lines[len(first) :]
    plain = [line.prompt for line in first if line.caption is None and len(line.names) == 1]
    once = len({name for line in first for name in line.names}) == len(plain) == len(first)
    described = read_cast("\n".join(plain)) if once else None
    names = list(dict.fromkeys(name for line in (rest or lines) for name in line.names))
    if not rest or described is None or not set(names) <= set(described):
        raise UserError(
            f"{path}: [{names[0] if names else lines[0].names[0]}] is described nowhere; give --prompt, or begin the "
            "script with a line `[Name] what it looks like` for each name, and an empty line"
        )
    return {name: {"prompt": text} for name, text in described.items()}, rest


def _cast_of_parts(lines: Sequence[Line]) -> dict[str, dict[str, Any]]:
    """Of CharaConsist's form: a character for each paragraph, as its first line describes it; equal ones are one."""
    first: dict[int, str] = {}
    for line in lines:
        if line.character is not None:
            first.setdefault(line.paragraph, line.character)
    texts = list(dict.fromkeys(first.values()))
    return {f"hero-{n}" if n > 1 else "hero": {"prompt": text} for n, text in enumerate(texts, 1)}


def _hero_of(line: Line, lines: Sequence[Line], cast: Mapping[str, dict[str, Any]]) -> str:
    text = next(one.character for one in lines if one.paragraph == line.paragraph and one.character is not None)
    return next(name for name, who in cast.items() if who["prompt"] == text)


def _checked_cast(cast: Mapping[str, dict[str, Any]], path: Path) -> Mapping[str, Character]:
    """The characters alone, so that a script can be read with them."""
    return checked({"characters": cast, "panels": [{"prompt": "x"}]}, str(path)).characters


def _checked_panel(data: dict[str, Any], where: str) -> Panel:
    try:
        return Panel.model_validate({key: value for key, value in data.items() if key != "character_text"})
    except ValidationError as error:
        raise UserError(f"{where}: {_one_line(error)}") from error


def _one_line(error: ValidationError) -> str:
    """The first problem, with its place, what was given and what is allowed."""
    found = error.errors(include_url=False)
    first = next((one for one in found if one["loc"][-1:] != ("str",)), found[0])  # rows say more than "no name"
    place = ".".join(
        _part(part) for part in first["loc"] if not str(part).startswith(("function-", "constrained-", "list["))
    )
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{place}: there is no such key; docs/comics.md lists them{more}"
    if first["type"] == "missing":
        return f"{place}: missing{more}"
    message = first["msg"].removeprefix("Value error, ")
    got = "" if first["type"] == "value_error" else f"got {short(first['input'])}; "
    return f"{place}: {got}{message}{more}" if place else f"{message}{more}"


def _part(part: int | str) -> str:
    """Panels and balloons are counted from 1, as a reader does."""
    return str(part + 1) if isinstance(part, int) else part
