"""`masactrl-video web`."""

from __future__ import annotations

import argparse
from pathlib import Path

from pydantic import ByteSize, TypeAdapter, ValidationError

from masactrl_video.cli.say import say
from masactrl_video.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "--folder", type=Path, default=Path("masactrl-runs"), help="for jobs and all they make (default: masactrl-runs)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine)")
    parser.add_argument("--port", type=int, help="port (default: the first that is free from 7860 on)")
    parser.add_argument("--auth", metavar="NAME:PASSWORD", help="ask for this name and password")
    parser.add_argument(
        "--share", action="store_true", help="let others reach the page through a server of Gradio's; needs --auth"
    )
    parser.add_argument(
        "--max-upload", default="2GiB", metavar="SIZE", help="largest file that is taken (default: 2GiB)"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def run(arguments: argparse.Namespace) -> int:
    """Run the command: serve the page until Ctrl-C."""
    auth = _auth(arguments.auth)
    if arguments.share and auth is None:
        raise UserError("--share: everybody on the internet could use this machine; give --auth NAME:PASSWORD too")
    if arguments.port is not None and not 0 < arguments.port < 1 << 16:
        raise UserError(f"--port: got {arguments.port}; allowed: 1 to 65535")
    from masactrl_video.web.server import ServerOptions, serve

    options = ServerOptions(
        folder=arguments.folder,
        host=arguments.host,
        port=arguments.port,
        auth=auth,
        share=arguments.share,
        max_upload_bytes=_bytes(arguments.max_upload),
        opens_browser=arguments.open,
    )
    try:
        serve(options, lambda where: say(f"{where} (Ctrl-C ends it; jobs that are not done go on with the next start)"))
    except KeyboardInterrupt:
        return 0
    return 0


def _auth(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    name, colon, password = text.partition(":")
    if not (name and colon and password):
        raise UserError("--auth: write it as NAME:PASSWORD")
    return name, password


def _bytes(text: str) -> int:
    try:
        size = int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError as error:
        raise UserError(f"--max-upload: got {text!r}; write a size such as 500MiB or 2GiB") from error
    if size <= 0:
        raise UserError(f"--max-upload: got {text!r}; it has to be above 0")
    return size
