"""The command line: `masactrl-video COMMAND`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

import masactrl_video
from masactrl_video.cli.options import Parser
from masactrl_video.cli.say import PrintableFormatter, replace_unknown_letters, say_json
from masactrl_video.errors import UserError, printable

COMMANDS = {
    "render": "render a clip: one character, the same from frame to frame",
    "animate": "render a character from a pose sequence",
    "pose": "extract, show, convert, smooth, retarget or tween pose sequences",
    "sprites": "a sprite sheet of a character: movements as even, transparent cells, and their description for games",
    "synthesize": "still pictures of one character from prompts",
    "edit": "change a given picture by a prompt and keep its character",
    "sweep": "a grid of pictures over two settings, to find those for a model",
    "compare": "the same target by several methods on one sheet",
    "probe": "what is known about a clip before it is rendered",
    "frames": "stage 1: the clip's frames at the model's size, as pictures",
    "guidance": "stage 2: guidance pictures for every frame",
    "source": "characters to keep: make, list, show, export, import, remove; record: stages 3 and 4 alone",
    "comic": "a story in panels: characters, poses, captions and balloons, as PNG, PDF and CBZ",
    "encode": "stage 6: rendered frames become a video with a clip's times and sound",
    "measure": "figures of any clip: same character, flicker, motion, colour drift, what was kept",
    "evaluate": "figures of a model of the cartoon world, where the right answers are known",
    "web": "a page in the browser: clips, stills, characters and comics, without flags",
    "schema": "the settings of a command as JSON Schema, for forms and editors",
    "doctor": "look at this machine: versions, devices, ffmpeg, model files, cache, and what to do",
    "cache": "list, show, verify or prune recorded sources",
}
"""Command → its one line of help; module `cli.<command>` has `add_arguments` and `run`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 for a bound that is missed, 2 for bad input, 130 after Ctrl-C."""
    argv = sys.argv[1:] if argv is None else argv
    replace_unknown_letters()
    try:
        arguments = _parsed(argv)
        run: Callable[[argparse.Namespace], int] = arguments.run
        with _shown(arguments):
            return run(arguments)
    except UserError as error:
        return _end(argv, str(error), 2)
    except KeyboardInterrupt:
        return _end(argv, f"stopped{_how_to_go_on(argv)}", 130)
    except BrokenPipeError:  # e.g. `| head`
        sys.stderr.close()
        return 1
    except OSError as error:  # a full disk, a folder that may not be read, …
        return _end(argv, str(error), 2)
    except RuntimeError as error:  # torch has no common class for a lack of memory
        if "out of memory" not in str(error).lower():
            raise
        return _end(argv, f"{error}; close what else uses the device, or give --device cpu", 2)


def _end(argv: Sequence[str], message: str, status: int) -> int:
    """Say why the command ends, to people and, with `--json`, to the program that asked."""
    print(f"masactrl-video: {printable(message)}", file=sys.stderr)
    if "--json" in argv:
        say_json({"error": message, "status": status})
    return status


def _how_to_go_on(argv: Sequence[str]) -> str:
    if list(argv[:1]) not in (["render"], ["animate"], ["comic"], ["sprites"]):
        return ""
    return "; the same command goes on where it was" + (", without --restart" if "--restart" in argv else "")


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="masactrl-video", description=masactrl_video.__doc__, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=masactrl_video.__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = argv[0] if argv else None
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        if name == chosen:  # the other commands' flags are not needed, and neither is what they import
            module = import_module(f"masactrl_video.cli.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
            command.add_argument("-v", "--verbose", action="store_true", help="say more about what is done")
            command.add_argument("-q", "--quiet", action="store_true", help="only warnings and errors")
    return parser.parse_args(argv)


@contextmanager
def _shown(arguments: argparse.Namespace) -> Iterator[None]:
    """Inside the context, what a command logs and how far it is are shown, as much as was asked for."""
    logger, level = _set_up_logging(arguments.verbose, arguments.quiet)
    if arguments.quiet or not sys.stderr.isatty():
        os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported; bars would fill a log file
    from tqdm.contrib.logging import logging_redirect_tqdm

    from masactrl_video.cli.bars import Bars
    from masactrl_video.progress import watching

    with logging_redirect_tqdm([logger]), watching(Bars()):  # log lines above the bars, not through them
        for shown in logger.handlers:  # what is shown; the log beside an output has everything
            shown.setLevel(level)
        yield


def _set_up_logging(verbose: bool, quiet: bool) -> tuple[logging.Logger, int]:
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logger = logging.getLogger("masactrl_video")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG)
    return logger, logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO


if __name__ == "__main__":
    sys.exit(main())
