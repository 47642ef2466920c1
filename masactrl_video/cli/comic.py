"""`masactrl-video comic`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from masactrl_video.cli.options import add_settings
from masactrl_video.cli.say import add_json, say, say_json, teller
from masactrl_video.page.story_file import read_story
from masactrl_video.settings.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("story", type=Path, help="story (.yaml), or a plain text script, one line a panel")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help=".png (one for each page), .pdf or .cbz; the others beside it"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace existing pages; panels that did not change are kept"
    )
    add_json(parser)
    parser.add_argument(
        "--layout", metavar="NAME", help="layout of all pages, e.g. 2x3, wide-top; docs/comics.md lists them"
    )
    who = parser.add_argument_group("the character of a plain text script")
    who.add_argument(
        "--prompt",
        dest="who_prompt",
        metavar="TEXT",
        help="what it looks like; begins every prompt. Of several: a line `[NAME] what NAME looks like` for each",
    )
    who.add_argument("--source-name", dest="who_source", metavar="NAME", help="a saved character (source make)")
    who.add_argument(
        "--source-image", dest="who_image", type=Path, metavar="PATH", help="a picture of it, which is inverted"
    )
    add_settings(parser, "comic")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from masactrl_video.errors import UserError

    given: dict[str, Any] = vars(arguments)
    if arguments.config:
        raise UserError("--config: settings stand in the story itself, under `settings`")
    who = {name: given[f"who_{name}"] for name in ("prompt", "source", "image") if given[f"who_{name}"] is not None}
    if "image" in who:
        who["image"] = who["image"].absolute()
    story = read_story(arguments.story, who)
    if arguments.preset:
        story = story.model_copy(update={"preset": arguments.preset})
    if arguments.layout:
        if story.pages:
            raise UserError("--layout: each of the story's pages has its own; leave it out")
        story = story.model_copy(update={"layout": arguments.layout})
    changes = {name: given[name] for name in Settings.model_fields if given.get(name) is not None}
    from masactrl_video.jobs.comic.comic import render_comic

    outputs = render_comic(
        story,
        arguments.story,
        arguments.output,
        changes=changes,
        overwrite=arguments.overwrite,
        tell=teller(arguments),
    )
    if arguments.json:
        say_json({"result": {"files": [str(path) for path in outputs.results], "folder": str(outputs.folder)}})
        return 0
    say(f"{', '.join(map(str, outputs.results))} (and everything that belongs to it in {outputs.folder}/)")
    return 0
