"""Whose keys go where in a panel: the poses in which characters were made, and in which they are there."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from masactrl_video.controls.single_pose import PosedPart, read_pose
from masactrl_video.errors import UserError
from masactrl_video.jobs.comic.plan import PlannedPanel
from masactrl_video.page.story import Character
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.warp import NOBODY, Body, Skeleton, Skeletons
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.characters.pictures import kept_pose
from masactrl_video.sources.saved import open_saved

logger = logging.getLogger(__name__)

_SETTING = "source_positions pose"
_WHOLE = (0.0, 0.0, 1.0, 1.0)


def source_pose(name: str, character: Character, settings: Settings, folder: Path) -> PosedPart:
    """The pose in which a character of a story was made.

    Args:
        folder: paths in the story are relative to it.

    Raises:
        UserError: it is not known.
    """
    where, spec = f"characters.{name}", character.pose
    if character.source is not None:
        found: Pose | Path | None = kept_pose(open_saved(settings.model_copy(update={"character": character.source})))
    else:
        found = None if spec in (None, "none") else read_pose(str(spec), folder, f"{where}.pose")
    if found is None or isinstance(found, Path):
        raise UserError(
            f"{where}: {_SETTING}: its pose is not known; make it of a prompt with a pose (a name or JSON), or give "
            "source_positions shifted or free"
        )
    return PosedPart(found, _WHOLE)


def panel_skeletons(
    planned: PlannedPanel, sources: Mapping[str, tuple[int, int]], size_px: tuple[int, int]
) -> Skeletons | None:
    """Those of a panel and of its sources, one person for each; None where keys do not go with the limbs.

    Args:
        sources: name of a character → height and width in px of its source.
        size_px: height and width of the panel.
    """
    if not planned.source_poses:
        return None
    height, width = size_px
    bodies = [_body(planned, number, name, width, height) for number, name in enumerate(sources)]
    if missing := [name for name, body in zip(sources, bodies, strict=True) if body is None]:
        logger.info("%s: %s: no pose of %s, so that their keys stay", planned.where, _SETTING, ", ".join(missing))
    frame = Skeleton(width, height, tuple(NOBODY if body is None else body for body in bodies))
    return Skeletons(tuple(_alone(planned, name, sources, number) for number, name in enumerate(sources)), (frame,))


def _body(planned: PlannedPanel, number: int, name: str, width: int, height: int) -> Body | None:
    """Of a character in the panel: by its own pose, or by its place in one of several people."""
    if name in planned.posed_by:
        return Skeleton.of(planned.posed_by[name].on(width, height)).people[0]
    together = planned.posed_by.get("")
    people: Sequence[Body] = () if together is None else Skeleton.of(together.on(width, height)).people
    return people[number] if number < len(people) else None


def _alone(planned: PlannedPanel, name: str, sources: Mapping[str, tuple[int, int]], number: int) -> Skeleton:
    """A source, in which the character has its place among the panel's people."""
    height, width = sources[name]
    return Skeleton.of_one(planned.source_poses[name].on(width, height), number)
