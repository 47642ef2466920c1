"""`masactrl-video cache list|show|verify|prune`."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

from pydantic import ByteSize, TypeAdapter, ValidationError

from masactrl_video.cache.index import REFERENCES
from masactrl_video.cache.manage import EntrySummary, default_cache_root, list_entries, prune, verify_entries
from masactrl_video.cli.say import say
from masactrl_video.errors import UserError, counted

_PLACE_HELP = "the cache (default: $MASACTRL_VIDEO_CACHE, else ~/.cache/masactrl-video)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sub-commands and their flags."""
    place = argparse.ArgumentParser(add_help=False)  # understood before and after the sub-command
    place.add_argument("--cache-dir", type=Path, default=argparse.SUPPRESS, help=_PLACE_HELP)
    parser.add_argument("--cache-dir", type=Path, help=_PLACE_HELP)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", parents=[place], allow_abbrev=False, help="all entries, with size and last use")
    show = actions.add_parser(
        "show", parents=[place], allow_abbrev=False, help="what determined an entry and what is in it"
    )
    show.add_argument("id", help="name of the entry; its beginning is enough")
    verify = actions.add_parser(
        "verify", parents=[place], allow_abbrev=False, help="read entries whole and compare them with their checksums"
    )
    verify.add_argument("id", nargs="*", help="names of entries (default: all)")
    remove = actions.add_parser(
        "prune", parents=[place], allow_abbrev=False, help="remove entries, those longest unused first and none in use"
    )
    remove.add_argument("id", nargs="*", help="remove these entries")
    remove.add_argument("--older-than-days", type=float, metavar="N", help="remove what was not used for N days")
    remove.add_argument("--max-size", metavar="SIZE", help="remove until the cache is at most this large, e.g. 8GiB")
    remove.add_argument("--all", action="store_true", help="remove everything")


def run(arguments: argparse.Namespace) -> int:
    """Run the sub-command."""
    root: Path = arguments.cache_dir or default_cache_root()
    if arguments.action == "list":
        return _print(list_entries(root), root)
    if arguments.action == "show":
        return _show(root, arguments.id)
    if arguments.action == "verify":
        entries = verify_entries(root, _whole_ids(root, arguments.id) or None)
        _print(entries, root)
        return 2 if any(entry.problem for entry in entries) else 0
    return _prune(root, arguments)


def _show(root: Path, start: str) -> int:
    (name,) = _whole_ids(root, [start])
    (entry,) = [entry for entry in list_entries(root) if entry.name == name]
    if entry.index is None:
        raise UserError(entry.problem or f"{name} has no index")
    say(json.dumps(json.loads(entry.index.model_dump_json()), indent=1))
    return 0


def _prune(root: Path, arguments: argparse.Namespace) -> int:
    ids = _whole_ids(root, arguments.id)
    if arguments.all and (ids or arguments.older_than_days is not None or arguments.max_size):
        raise UserError("cache prune: --all removes everything; give it alone")
    if arguments.older_than_days is not None and not math.isfinite(arguments.older_than_days):
        raise UserError(f"--older-than-days: got {arguments.older_than_days}; give a number of days")
    if not (ids or arguments.all or arguments.older_than_days is not None or arguments.max_size):
        raise UserError("cache prune: say what to remove: names of entries, --older-than-days, --max-size or --all")
    removed = prune(
        root,
        ids=ids,
        older_than_days=arguments.older_than_days,
        max_bytes=_bytes(arguments.max_size) if arguments.max_size else None,
        everything=arguments.all,
    )
    say(f"removed {counted(len(removed), 'entry', 'entries')}, {sum(entry.bytes for entry in removed) / 1e6:.1f} MB")
    return 0


def _whole_ids(root: Path, starts: list[str]) -> list[str]:
    names = [entry.name for entry in list_entries(root)] if starts else []
    whole = []
    for start in starts:
        matches = [name for name in names if name.startswith(start)]
        if len(matches) != 1:
            named = counted(len(matches), "entry", "entries")
            raise UserError(f"cache: {start!r} names {named} of {root}; see `masactrl-video cache list`")
        whole += matches
    return whole


def _bytes(text: str) -> int:
    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError as error:
        raise UserError(f"--max-size: got {text!r}; write a number and a unit, such as 500MB or 8GiB") from error


def _print(entries: list[EntrySummary], root: Path) -> int:
    for entry in entries:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.last_used_seconds))
        say(f"{entry.name}  {entry.bytes / 1e6:10.1f} MB  used {used}  {entry.problem or _content(entry)}")
    say(f"{counted(len(entries), 'entry', 'entries')}, {sum(entry.bytes for entry in entries) / 1e6:.1f} MB in {root}")
    return 0


def _content(entry: EntrySummary) -> str:
    if entry.index is None:
        return ""
    if REFERENCES in entry.index.determined_by:
        return f"references x {counted(len(entry.index.layers), 'layer')}"
    return f"{counted(len(entry.index.steps), 'step')} x {counted(len(entry.index.layers), 'layer')}"
