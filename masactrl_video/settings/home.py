"""`~` in paths: a home, in every setting that is or may be a path, from a file or the command line alike.

A shell only replaces it at the beginning of a word: not in YAML, `--flag=~/x` or `canny=~/x`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from masactrl_video.errors import UserError


def at_home(path: str) -> str:
    """A path with `~` or `~user` at its beginning replaced; anything else, a hub id for one, stays as it is.

    Raises:
        UserError: there is no such user, and no file or folder of that name.
    """
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError as error:
        first = Path(path).parts[0]
        if first == path or Path(first).exists():  # a file may well be called so
            return path
        raise UserError(f"{path}: there is no user {first[1:]!r}; write ./{path} for a folder of that name") from error


def homes_in(value: Any) -> Any:
    """The same for whatever a setting holds: a path or its text, a list, or pairs with paths on either side.

    Raises:
        UserError: see `at_home`.
    """
    if isinstance(value, (str, Path)):
        return type(value)(at_home(str(value)))
    if isinstance(value, list):
        return [homes_in(item) for item in value]
    if isinstance(value, dict):
        return {homes_in(name): homes_in(item) for name, item in value.items()}
    return value


MAY_BE_AT_HOME = AfterValidator(homes_in)
"""Marks a field that is a path, or may be one."""

OwnPath = Annotated[Path | None, MAY_BE_AT_HOME]
OwnName = Annotated[str | None, MAY_BE_AT_HOME]
"""A path, or something else: a hub id, a named pose."""
