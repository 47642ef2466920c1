"""What a run of sprites leaves: a sheet, and the folder beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from masactrl_video.errors import UserError
from masactrl_video.settings.sprites import SpriteSettings
from masactrl_video.storage.replace import replacing
from masactrl_video.storage.write_errors import check_can_be_made, check_writable
from masactrl_video.video.png import png_bytes, write_png

if TYPE_CHECKING:
    from masactrl_video.sprites.cells import Cell
    from masactrl_video.sprites.sheet import Layout

HEADER = "# Resolved settings; `masactrl-video sprites --config THIS_FILE -o OTHER.png` makes the same sprites.\n"
"""Begins the configuration of a run."""


@dataclass(frozen=True)
class SpriteOutputs:
    """Paths of a run: the sheet, and beside it a folder of the same name with everything else."""

    sheet: Path

    @property
    def folder(self) -> Path:
        """`hero/` for `hero.png`."""
        return self.sheet.with_suffix("")

    @property
    def config(self) -> Path:
        """The resolved settings."""
        return self.folder / "config.yaml"

    @property
    def poses(self) -> Path:
        """All poses that are rendered, as one clip."""
        return self.folder / "poses.json"

    @property
    def video(self) -> Path:
        """The clip of all frames; its own folder beside it has the frames."""
        return self.folder / "render.mp4"

    @property
    def cells(self) -> Path:
        """One PNG a frame."""
        return self.folder / "cells"

    @property
    def previews(self) -> Path:
        """Movements to look at."""
        return self.folder / "previews"

    @property
    def game(self) -> Path:
        """The sheet and its descriptions, to be copied into a game."""
        return self.folder / "game"


def check_sprites_free(outputs: SpriteOutputs, *, overwrite: bool, restart: bool) -> None:
    """See that a run may write there.

    Raises:
        UserError: it is no .png, there is something else, or it cannot be written.
    """
    if outputs.sheet.suffix.lower() != ".png":
        raise UserError(f"{outputs.sheet}: a sheet is a .png file; give another --output")
    check_can_be_made(outputs.sheet, folder=outputs.folder)
    if outputs.sheet.exists() and not overwrite:
        also = "; --restart alone discards an unfinished run only" if restart else ""
        raise UserError(f"{outputs.sheet} exists; give another --output, or --overwrite to replace it{also}")
    if outputs.folder.is_dir():
        check_writable(outputs.config)
    visible = [path for path in outputs.folder.glob("*") if not path.name.startswith(".")]
    if visible and not (outputs.config.is_file() and outputs.config.read_text("utf-8").startswith(HEADER)):
        raise UserError(f"{outputs.folder} exists and was not made by this command; give another output")


def write_sprites(settings: SpriteSettings, outputs: SpriteOutputs, cells: Sequence[Cell], layout: Layout) -> None:
    """Everything that is made of cells; the sheet comes last."""
    from masactrl_video.jobs.render_frames import picture_text
    from masactrl_video.sprites.exports import exports
    from masactrl_video.sprites.palette import hex_text, palette_of
    from masactrl_video.sprites.previews import FORMATS, preview
    from masactrl_video.sprites.sheet import join

    for folder in (outputs.cells, outputs.previews, outputs.game):
        for path in folder.glob("*"):
            path.unlink()  # of an earlier run, which may have had other movements
    places = list(layout.places())
    for place, cell in zip(places, cells, strict=True):
        write_png(outputs.cells / f"{place.name}.png", cell)
    for row in layout.rows:
        own = [cell for place, cell in zip(places, cells, strict=True) if place.row is row]
        for kind in FORMATS:
            (outputs.previews / f"{row.name}.{kind}").write_bytes(preview(own, row.milliseconds, kind))
    if settings.palette is not None:
        (outputs.game / f"{outputs.sheet.stem}.hex").write_text(hex_text(palette_of(cells)), encoding="ascii")
    for name, text in exports(outputs.sheet.stem, layout).items():
        (outputs.game / name).write_text(text, encoding="utf-8")
    content = png_bytes(join(layout, cells), picture_text(settings))
    for path in (outputs.game / outputs.sheet.name, outputs.sheet):
        with replacing(path) as partial:
            partial.write_bytes(content)
