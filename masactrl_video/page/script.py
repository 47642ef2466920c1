"""Comic scripts as plain text, one line a panel, as StoryDiffusion and CharaConsist read them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masactrl_video.errors import UserError
from masactrl_video.page.story import NO_CHARACTER, Character
from masactrl_video.settings.text_file import read_text

_MOST_BYTES = 1_000_000
_NAME = re.compile(r"\[([^\[\]]+)\]")
_LEADING = re.compile(r"(?:\[[^\[\]]+\]\s*)+")
_CAST_LINE = re.compile(r"\[([^\[\]]+)\]\s*([^#]+)")
_THREE_PARTS = re.compile(r"([^#]*)[,，]\s*#([^#]*)[,，]\s*#(.*)")  # CharaConsist: background, #character, #action
_FREE_HASH = re.compile(r"(?:(?<=\s)|^)#(?=\s|$)")
_WIDE_SIGNS = re.compile("[＃［］【】]")
_FORMS = "write `prompt # caption`, or `background, #character, #action`"


@dataclass(frozen=True)
class Line:
    """One line of a script that is not empty."""

    where: str
    """The file and the line's number, for messages."""
    paragraph: int
    """Empty lines part paragraphs."""
    prompt: str
    """With names in brackets."""
    caption: str | None = None
    character: str | None = None
    """What CharaConsist's form says of the character; a part of the prompt too."""
    nobody: bool = False
    """Whether it is marked as a panel without characters."""

    @property
    def names(self) -> list[str]:
        """Names in brackets, each once."""
        return list(dict.fromkeys(map(_as_name, _NAME.findall(self.prompt))))

    @property
    def leading_names(self) -> list[str]:
        """Those with which it begins."""
        found = _LEADING.match(self.prompt)
        return list(map(_as_name, _NAME.findall(found[0]))) if found else []


def read_lines(path: Path) -> list[Line]:
    """Lines of a script.

    A line is `what the panel shows # caption` (StoryDiffusion; the caption may be missing), with `[NC]` where no
    character is in it, and `[Name]` wherever a character of that name is; or `background, #character, #action`
    (CharaConsist), which becomes the prompt "character, action, background".

    Raises:
        UserError: the file cannot be read as text, has no line, or a line of another form.
    """
    lines: list[Line] = []
    paragraph = 0
    for number, text in enumerate(read_text(path, "a script", _MOST_BYTES).splitlines(), 1):
        if text.strip():
            lines.append(_line(text.strip(), paragraph, f"{path}, line {number}"))
        else:
            paragraph += 1
    if not lines:
        raise UserError(f"{path}: no line in it; write one line a panel")
    return lines


def read_script(
    path: Path, description: str | None = None, cast: Mapping[str, Character] | None = None
) -> list[dict[str, Any]]:
    """Panels of a script, as a story's YAML would name them; see `read_lines` and `panels_of`."""
    return panels_of(read_lines(path), description, cast)


def panels_of(
    lines: Iterable[Line], description: str | None = None, cast: Mapping[str, Character] | None = None
) -> list[dict[str, Any]]:
    """Panels as a story's YAML would name them.

    In the place of a name comes what is known of the character (as in StoryDiffusion), unless the line says it anyway;
    names of whom nothing is known as text are taken off the beginning, and stay as words elsewhere.

    Args:
        description: of the only character; begins the prompts of all panels that have it.
        cast: characters by name; any name is allowed where it is not given.

    Raises:
        UserError: a name that is not in the cast.
    """
    return [_panel(line, description, cast) for line in lines]


def read_cast(text: str) -> dict[str, str] | None:
    """Descriptions by name from StoryDiffusion's lines `[Name] what it looks like`; None where it is another text.

    Raises:
        UserError: a name stands twice.
    """
    found = [_CAST_LINE.fullmatch(line.strip()) for line in text.splitlines() if line.strip()]
    if not found or not all(found):
        return None
    names = [_as_name(match[1]) for match in found if match]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"[{twice[0]}] is described twice; describe each character once")
    return {name: match[2].strip() for name, match in zip(names, found, strict=True) if match}


def _line(text: str, paragraph: int, where: str) -> Line:
    nobody = NO_CHARACTER in text
    text = " ".join(text.replace(NO_CHARACTER, " ").split())
    if not text:
        raise UserError(f"{where}: {NO_CHARACTER} alone; say what the panel shows")
    background, character, rest = _parts(text, where)
    prompt = rest if character is None else f"{character}, {rest}, {background}"
    caption = background if character is None else None
    if sign := _WIDE_SIGNS.search(prompt):
        raise UserError(f"{where}: {sign[0]!r} would stay in the prompt as text; write it as # or [ ]")
    line = Line(where, paragraph, prompt, caption, character, nobody)
    if nobody and line.names:
        raise UserError(f"{where}: {NO_CHARACTER} is a panel without characters, and [{line.names[0]}] names one")
    if "[" in _NAME.sub("", prompt) or "]" in _NAME.sub("", prompt):
        raise UserError(f"{where}: a [ or ] without the other; write a character's name as [Name]")
    return line


def _parts(text: str, where: str) -> tuple[str | None, str | None, str]:
    """Background, character and action; or caption, None and prompt."""
    if three := _THREE_PARTS.fullmatch(text):
        background, character, action = (part.strip(" ,，") for part in three.groups())
        if background and character and action and not re.search(r"[,，]\s*#", action):
            return background, character, action
    elif text.count("#") <= 1:
        prompt, _, caption = (part.strip() for part in text.partition("#"))
        prompt = prompt.rstrip(" ,，")
        if prompt:
            return caption or None, None, prompt  # StoryDiffusion's `prompt #`: no caption
        raise UserError(f"{where}: text is missing before or after a #; write `prompt # caption`")
    elif len(free := list(_FREE_HASH.finditer(text))) == 1:  # others are part of a word, as in "We are #1!"
        prompt, caption = text[: free[0].start()].strip(" ,，"), text[free[0].end() :].strip()
        if prompt and caption:
            return caption, None, prompt
    raise UserError(
        f"{where}: {text.count('#')} times #; {_FORMS}; a # with spaces around it begins the caption, one without "
        "may stand in it"
    )


def _panel(line: Line, description: str | None, cast: Mapping[str, Character] | None) -> dict[str, Any]:
    more: dict[str, Any] = {} if line.caption is None else {"caption": line.caption}
    if line.character is not None:
        more["character_text"] = line.character
    if line.nobody:
        return {"prompt": f"{NO_CHARACTER} {line.prompt}", **more}
    known = {_as_name(name): name for name in cast or {}}
    for name in line.names:
        if cast is not None and name not in known:
            raise UserError(
                f"{line.where}: [{name}]: there is no character of that name; there are: {', '.join(known) or 'none'}"
            )
    if not line.names:
        begins = f"{description}, " if description and line.character is None else ""
        return {"prompt": begins + line.prompt, **more}
    texts = {name: _text_of(cast[known[name]], line) if cast else None for name in line.names}
    prompt = _with_texts(line, texts)
    if description and not any(texts.values()):
        prompt = f"{description}, {prompt}"
    return {"prompt": prompt, **more, "characters": [known.get(name, name) for name in line.names]}


def _text_of(who: Character, line: Line) -> str | None:
    """What stands for a name; None where there is nothing, or where the line names the character by its words."""
    rest = _NAME.sub(" ", line.prompt).lower()
    text = who.prompt or who.caption
    said = who.words or ([text] if text else [])
    return None if text is None or all(word.lower() in rest for word in said) else text


def _with_texts(line: Line, texts: Mapping[str, str | None]) -> str:
    """The prompt with names replaced; with commas where all of them begin it."""
    if len(line.leading_names) == len(_NAME.findall(line.prompt)):
        rest = _LEADING.sub("", line.prompt, count=1).strip(" ,，")
        return ", ".join(filter(None, [*(texts[name] for name in line.names), rest]))

    def replaced(match: re.Match[str]) -> str:
        name = _as_name(match[1])
        return f" {texts[name] or name} "

    return re.sub(r"\s+([,，.!?]|$)", r"\1", " ".join(_NAME.sub(replaced, line.prompt).split()))


def _as_name(text: str) -> str:
    """However it is spaced and composed, a name is the same."""
    return unicodedata.normalize("NFC", " ".join(text.split()))
