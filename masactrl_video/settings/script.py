"""Comic scripts as plain text, one line a panel, in the forms that StoryDiffusion and CharaConsist know."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from masactrl_video.errors import UserError
from masactrl_video.settings.story import NO_CHARACTER

_MOST_BYTES = 1_000_000
_NAMES = re.compile(r"^((?:\[[A-Za-z0-9][A-Za-z0-9_-]*\]\s*)+)")


def read_script(path: Path, description: str | None = None) -> list[dict[str, Any]]:
    """Panels of a script, as a story's YAML would name them.

    A line is `what the panel shows # caption` (StoryDiffusion; the caption may be missing), beginning with `[NC]`
    where the character is not in it, or with names such as `[bear]` or `[bear] [frog]` where there are several; or
    `background, #character, #action` (CharaConsist), which becomes the prompt "character, action, background".
    Empty lines are left out.

    Args:
        description: of the character; begins the prompt of every panel in StoryDiffusion's form that has a character.

    Raises:
        UserError: the file cannot be read as text, has no line, or a line of another form.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path}: over {_MOST_BYTES} bytes; a script is a short text, one line a panel")
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: cannot be read as a script (it is no ordinary file)")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read as a script ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read as a script (it is no text in UTF-8)") from error
    panels = [_panel(line.strip(), description, f"{path}, line {n}") for n, line in enumerate(lines, 1) if line.strip()]
    if not panels:
        raise UserError(f"{path}: no line in it; write one line a panel")
    return panels


def _panel(line: str, description: str | None, where: str) -> dict[str, Any]:
    parts = [part.strip().strip(",").strip() for part in line.split("#")]
    if not parts[0] or not all(parts):
        raise UserError(f"{where}: text is missing before or after a #; write `prompt # caption`")
    if len(parts) == 3:
        background, character, action = parts
        return {"prompt": f"{character}, {action}, {background}", "character_text": character}
    if len(parts) > 3:
        raise UserError(
            f"{where}: {len(parts) - 1} times #; write `prompt # caption`, or `background, #character, #action`"
        )
    panel: dict[str, Any] = {"prompt": parts[0]} | ({"caption": parts[1]} if len(parts) == 2 else {})
    if parts[0].startswith(NO_CHARACTER):
        return panel
    if names := _NAMES.match(parts[0]):
        panel["characters"] = re.findall(r"\[(.+?)\]", names[1])
        panel["prompt"] = parts[0][names.end() :].strip()
    return panel | ({"prompt": f"{description}, {panel['prompt']}"} if description else {})
