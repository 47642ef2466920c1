"""Sprite sheets: movements → frames by the ordinary way → figures cut out → even cells → a sheet for games."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.jobs.run.folder import begin_folder
from masactrl_video.jobs.run.inputs import check_models
from masactrl_video.jobs.run.report import Report, Tell
from masactrl_video.jobs.run.run import Place, alone
from masactrl_video.jobs.sprites.outputs import HEADER, SpriteOutputs, check_sprites_free, write_sprites
from masactrl_video.model.loading import location
from masactrl_video.poses.pose_json import write_poses
from masactrl_video.settings.sprites import SpriteSettings
from masactrl_video.sources.characters.caption import with_caption
from masactrl_video.sprites.movements import Movements, Strip, plan_movements
from masactrl_video.storage.write_errors import storing_in
from masactrl_video.video.png import read_png

if TYPE_CHECKING:
    from masactrl_video.model.diffusion import DiffusionModel
    from masactrl_video.poses.pose import Pose
    from masactrl_video.sprites.alpha import Rgba
    from masactrl_video.sprites.cells import Cell
    from masactrl_video.sprites.sheet import Layout

logger = logging.getLogger(__name__)

_UNEVEN_LEVELS = 12.0
"""From which difference of the ground, from frame to frame, its being cut off well is doubted."""


def make_sprites(
    settings: SpriteSettings,
    output: Path,
    *,
    overwrite: bool = False,
    restart: bool = False,
    model: DiffusionModel | None = None,
    tell: Tell = lambda event: None,
) -> SpriteOutputs:
    """Make a sheet at `output`, and everything else in the folder of the same name beside it.

    A run that was interrupted goes on when it is called again; frames that are rendered are cut out again without
    being rendered again, so other cells or another palette cost seconds.

    Args:
        output: .png.
        overwrite: replace an existing sheet.
        restart: discard the frames of an earlier run, also one that is unfinished and has other settings.
        model: one that is loaded already, with a network for poses.
        tell: called with what happens while it happens (see `report.Tell`).

    Raises:
        UserError: anything in the settings, the movements or the output cannot be used; nothing is half-written.
    """
    outputs, report = SpriteOutputs(output), Report(tell=tell)
    settings = _of_character(settings)

    def check() -> None:
        check_sprites_free(outputs, overwrite=overwrite, restart=restart)

    check()
    check_models(settings)
    _check_turns(settings)
    palette = _palette(settings)
    movements = plan_movements(
        settings.actions, settings.facings, mirror=settings.mirror, rate=settings.action_rate, change=_change(settings)
    )

    def begin() -> None:
        begin_folder(outputs.folder, HEADER, settings, "cells", "previews", "game")

    asked = settings.as_yaml_data()
    with (
        storing_in(outputs.folder),
        alone(Place.folder(outputs.folder), asked, check, report=report, begin=begin, made=("render/*", "cells/*")),
    ):
        frames = _frames(settings, movements, outputs, report, restart=restart, model=model)
        with report.stage("sprites"):
            figures = _figures(frames, movements, outputs, report, masked=settings.masked)
            cells, layout = _cells(settings, movements, figures, frames[0].shape[0], palette, report)
            write_sprites(settings, outputs, cells, layout)
    return outputs


def _of_character(settings: SpriteSettings) -> SpriteSettings:
    """With the saved character's own caption for a prompt, unless one is given."""
    if not settings.prompt and settings.character is None:
        raise UserError("prompt: missing; name a saved character, or say with --prompt what the sprites show")
    return with_caption(settings)


def _check_turns(settings: SpriteSettings) -> None:
    """Refuse facings that the demo model and its kin cannot draw: their world has only ever faced us."""
    if settings.facings > 2 and location.is_of_cartoon_world(settings.model):
        raise UserError(
            f"facings {settings.facings}: characters of the cartoon world always face us; this model can draw no side "
            "and no back. Give --facings 1 or 2, or a model that knows people from all sides"
        )


def _palette(settings: SpriteSettings) -> NDArray[np.uint8] | int | None:
    from masactrl_video.sprites.palette import read_palette

    if settings.palette is None or settings.palette.isdigit():
        return None if settings.palette is None else int(settings.palette)
    return read_palette(Path(settings.palette))


def _change(settings: SpriteSettings) -> Callable[[list[Pose]], list[Pose]] | None:
    """What gives the movements the body that `retarget` names, as tall as they are."""
    if settings.retarget is None:
        return None
    from masactrl_video.jobs.poses import treat_poses
    from masactrl_video.poses.cycles import cycle
    from masactrl_video.sprites.movements import SIDE_PX, body_px

    standing = cycle("idle")
    ratio = body_px(standing) / body_px(treat_poses(settings, standing))

    def change(poses: list[Pose]) -> list[Pose]:
        return [
            pose.transform(lambda xy: xy * ratio, width_px=SIDE_PX, height_px=SIDE_PX)
            for pose in treat_poses(settings, poses)
        ]

    return change


def _frames(
    settings: SpriteSettings,
    movements: Movements,
    outputs: SpriteOutputs,
    report: Report,
    *,
    restart: bool,
    model: DiffusionModel | None,
) -> list[NDArray[np.uint8]]:
    """The pictures of all poses, rendered as a clip, or kept from an earlier run."""
    from masactrl_video.jobs.render_clip import render_clip
    from masactrl_video.jobs.run.folder import Outputs, is_made
    from masactrl_video.model.loading.from_settings import model_from_settings

    restart |= _put_poses(movements, outputs)
    wanted, rendered = settings.of_render(outputs.poses), Outputs(outputs.video)
    paths = rendered.frames(len(movements.poses))
    if restart or not (is_made(rendered, wanted) and all(path.is_file() for path in paths)):
        model = model or model_from_settings(wanted)
        _check_cell(settings, model)
        render_clip(wanted, outputs.video, overwrite=True, restart=restart, model=model, tell=report.tell)
    frames = [read_png(path) for path in paths]
    if settings.cell > len(frames[0]):
        raise _too_large(settings, len(frames[0]))
    return frames


def _put_poses(movements: Movements, outputs: SpriteOutputs) -> bool:
    """Write the clip of all poses; returns whether the frames of an earlier run are those of others.

    Their video goes first: nobody takes them for the new ones' if this run ends here.
    """
    fresh = outputs.folder / "poses-next.json"
    write_poses(fresh, movements.poses)
    others = outputs.poses.exists() and outputs.poses.read_bytes() != fresh.read_bytes()
    if others:
        outputs.video.unlink(missing_ok=True)
    fresh.replace(outputs.poses)
    return others


def _check_cell(settings: SpriteSettings, model: DiffusionModel) -> None:
    """See that cells are no larger than the pictures, before these are made."""
    from masactrl_video.video.target_size import choose_size

    width, _ = choose_size(
        1.0, settings.width, settings.height, size_factor=model.size_factor, native_area_px=model.native_area_px
    )
    if settings.cell > width:
        raise _too_large(settings, width)


def _too_large(settings: SpriteSettings, side_px: int) -> UserError:
    return UserError(
        f"cell {settings.cell}: the pictures are {side_px} px, and cells are never enlarged; give at most {side_px}, "
        "or larger pictures with --width and --height"
    )


def _figures(
    frames: Sequence[NDArray[np.uint8]], movements: Movements, outputs: SpriteOutputs, report: Report, *, masked: bool
) -> list[tuple[Rgba, float]]:
    """Each frame's figure, and where its soles are, in px of the cut-out."""
    from masactrl_video.jobs.run.folder import Outputs
    from masactrl_video.progress import counting
    from masactrl_video.sprites.alpha import cut_out, mattes_of
    from masactrl_video.sprites.body import Body
    from masactrl_video.sprites.cells import soles_px
    from masactrl_video.sprites.ground import enlarged, enlargement, ground_of
    from masactrl_video.sprites.movements import SOLE_SHARE
    from masactrl_video.sprites.shape import in_agreement

    side = len(frames[0]) * enlargement(len(frames[0]))
    bodies = [Body.of(pose, side) for pose in movements.poses]
    ground = ground_of(frames, bodies, movements.aside)
    _tell_ground(ground.unevenness(frames, bodies), report)
    shown, bodies = frames[: -movements.aside], bodies[: -movements.aside]
    masks = Outputs(outputs.video).masks(len(frames)) if masked else None

    def hint(number: int) -> NDArray[np.bool_] | None:
        return None if masks is None else enlarged(read_png(masks[number]))[..., 0] > 127

    def counted(numbers: range) -> Iterable[int]:
        return counting(numbers, "figures", "frame", total=len(numbers))

    agreed = in_agreement(shown, bodies, mattes_of(shown, bodies, ground, hint, counted), movements.views)
    figures = [cut_out(frame, matte) for frame, matte in zip(shown, agreed, strict=True)]
    soles = soles_px(figures, [body.lowest_px for body in bodies], SOLE_SHARE * side)
    return list(zip(figures, soles, strict=True))


def _tell_ground(levels: float, report: Report) -> None:
    report.figures["ground_differs_levels"] = round(levels, 2)
    if levels > _UNEVEN_LEVELS:
        logger.warning(
            "the ground differs by %.0f levels from frame to frame, so outlines may be cut roughly; a plain ground "
            "helps: say `plain background` in the character's prompt",
            levels,
        )


def _cells(
    settings: SpriteSettings,
    movements: Movements,
    figures: Sequence[tuple[Rgba, float]],
    picture_px: int,
    palette: NDArray[np.uint8] | int | None,
    report: Report,
) -> tuple[list[Cell], Layout]:
    """Cells of all strips in the order of the sheet, and where they are on it."""
    from masactrl_video.sprites.cells import to_cell, window_of
    from masactrl_video.sprites.ground import enlargement
    from masactrl_video.sprites.palette import choose_palette, colours_in, with_palette
    from masactrl_video.sprites.sheet import Layout

    least_px = settings.cell * enlargement(picture_px)
    window = window_of([figure for figure, _ in figures], [sole for _, sole in figures], settings.cell, least_px)
    own = [to_cell(figure, sole, window, hard=settings.hard) for figure, sole in figures]
    if isinstance(palette, int):
        wanted, palette = palette, choose_palette(own, palette)
        if len(palette) < wanted:
            logger.warning("palette: the sprites have only %d colours, not %d", len(palette), wanted)
    if palette is not None:
        colours = palette
        own = [with_palette(cell, colours, dither=settings.dither) for cell in own]
    cells = [
        np.ascontiguousarray(own[frame][:, ::-1]) if strip.mirrored else own[frame]
        for strip in movements.strips
        for frame in strip.frames
    ]
    figure_px = window.cell_px / window.side * len(figures[0][0])
    layout = Layout(tuple(_row(strip, figure_px) for strip in movements.strips), settings.cell, window.anchor)
    report.figures |= {
        "cells": len(cells),
        "colours": colours_in(cells),
        "anchor_px": [round(part * settings.cell, 2) for part in window.anchor],
        "scale": round(settings.cell * enlargement(picture_px) / window.side, 4),
        "movements": {
            strip.name: {"frames": len(strip.frames), "rate": strip.rate, "mirrored": strip.mirrored}
            for strip in movements.strips
        },
    }
    return cells, layout


def _row(strip: Strip, side_px: float) -> Any:
    """A strip as a row of the sheet; side_px: of a whole picture, in px of a cell."""
    from masactrl_video.poses.cycles import HEIGHT
    from masactrl_video.sprites.sheet import Row

    lifts = tuple(round(lift * HEIGHT * side_px, 2) for lift in strip.lifts)
    return Row(strip.name, len(strip.frames), strip.rate, lifts)
