"""`masactrl-video source make|list|show|export|import|remove|record`."""

from __future__ import annotations

import argparse
from pathlib import Path

from masactrl_video.cli.options import add_settings, settings_from
from masactrl_video.cli.say import say
from masactrl_video.settings.home import at_home
from masactrl_video.settings.settings import Settings

_PLACE_HELP = "saved characters (default: $MASACTRL_VIDEO_CHARACTERS, else ~/.local/share/masactrl-video/characters)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sub-commands and their flags."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, text: str, place: bool = True) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        for flag, more in (("-v", "--verbose"), ("-q", "--quiet")):  # understood before and after the sub-command
            added.add_argument(flag, more, action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        if place:
            added.add_argument("--characters-dir", type=Path, help=_PLACE_HELP)
        return added

    _add_make(action("make", "make a character to keep, from a prompt or a picture", place=False))
    action("list", "all saved characters")
    action("show", "a character's recipe and files, checked byte by byte").add_argument("name")
    export = action("export", "write a character as one .zip, to give to others")
    export.add_argument("name")
    export.add_argument("-o", "--output", type=Path, required=True, help="the .zip")
    export.add_argument("--overwrite", action="store_true", help="replace an existing file")
    bring = action("import", "keep a character that somebody exported; every byte of it is checked")
    bring.add_argument("file", type=Path, help="the .zip")
    bring.add_argument("--name", help="keep it under another name")
    bring.add_argument("--overwrite", action="store_true", help="replace a character of that name")
    action("remove", "remove a character").add_argument("name")
    _add_record(
        action("record", "stages 3 and 4 of a render: the source of a clip, recorded in the cache", place=False)
    )


def _add_make(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="letters, digits, - and _")
    parser.add_argument(
        "--pose", type=at_home, metavar="POSE", help="pose of a generated character: a name, .json or picture"
    )
    parser.add_argument("--caption", metavar="TEXT", help="with --source-image: a text that names the character")
    parser.add_argument("--words", nargs="+", metavar="TEXT", help="the character's words in its prompt or caption")
    parser.add_argument("--overwrite", action="store_true", help="replace a character of that name")
    add_settings(parser, "source make")


def _add_record(parser: argparse.ArgumentParser) -> None:
    add_settings(parser, "source record")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the source image (.png)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing picture")


def run(arguments: argparse.Namespace) -> int:
    """Run the sub-command."""
    if arguments.action == "record":
        return _record(arguments)
    if arguments.action == "make":
        return _make(arguments)
    from masactrl_video.sources.characters.archive import export_character, import_character
    from masactrl_video.sources.characters.store import default_root, open_character, remove_character

    root: Path = arguments.characters_dir or default_root()
    if arguments.action == "list":
        return _list(root)
    if arguments.action == "show":
        character = open_character(root, arguments.name)
        say(character.index.model_dump_json(indent=1))
        recipe = character.index.recipe
        if recipe.kind == "reference" and (facts := recipe.reference) is not None:
            say(
                f"a reference: {facts.layers} layers x {facts.tokens} tokens in {facts.dtype}, {facts.bytes / 1e6:.1f} "
                "MB; it serves every step, prompt and size of its own model"
            )
        say(f"{character.folder}: whole")
    elif arguments.action == "export":
        export_character(root, arguments.name, arguments.output, overwrite=arguments.overwrite)
        say(arguments.output)
    elif arguments.action == "import":
        character = import_character(root, arguments.file, arguments.name, overwrite=arguments.overwrite)
        say(f"{character.index.name}: {character.folder}")
    else:
        remove_character(root, arguments.name)
        say(f"removed {arguments.name}")
    return 0


def _list(root: Path) -> int:
    from masactrl_video.errors import UserError, counted
    from masactrl_video.sources.characters.index import PictureRecipe
    from masactrl_video.sources.characters.store import character_names, open_character

    names = character_names(root)
    for name in names:
        try:
            recipe = open_character(root, name).index.recipe
            model = "any model" if isinstance(recipe, PictureRecipe) else recipe.model
            what = f"{recipe.width}x{recipe.height}  {model}  {recipe.caption or '(a picture)'}"
        except UserError as error:
            what = str(error)
        say(f"{name}  {what}")
    say(f"{counted(len(names), 'character')} in {root}")
    return 0


def _make(arguments: argparse.Namespace) -> int:
    from masactrl_video.errors import UserError

    if arguments.source_image is not None and arguments.prompt is not None:
        raise UserError(
            "prompt: it would have no effect, because the picture is inverted; --caption names what it shows"
        )
    arguments.clip = arguments.name  # settings are those of a clip; this command reads none
    settings = settings_from(arguments)
    _check_before_loading(settings, arguments)
    from masactrl_video.jobs.make_character import make_character

    character = make_character(
        settings,
        arguments.name,
        pose=arguments.pose,
        caption=arguments.caption,
        words=arguments.words or (),
        overwrite=arguments.overwrite,
    )
    say(f"{character.index.name}: {character.folder} (render --character {character.index.name})")
    return 0


def _check_before_loading(settings: Settings, arguments: argparse.Namespace) -> None:
    """What is wrong with names and files is said before torch and diffusers are loaded."""
    from masactrl_video.jobs.run.inputs import check_models
    from masactrl_video.sources.characters.store import check_vacant, default_root
    from masactrl_video.video.image_folder import read_image
    from masactrl_video.video.local_file import local_path

    check_vacant(settings.characters_dir or default_root(), arguments.name, arguments.overwrite)
    if settings.source_image is not None:
        read_image(local_path(settings.source_image))
    check_models(settings)


def _record(arguments: argparse.Namespace) -> int:
    settings = settings_from(arguments)
    from masactrl_video.jobs.single_stages import record_source_of

    entry = record_source_of(settings, arguments.output, overwrite=arguments.overwrite)
    say(f"{arguments.output}; recorded as cache entry {entry}")
    return 0
