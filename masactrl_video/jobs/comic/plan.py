"""A comic before any model is loaded: who is where, in which pose, and every word in its place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from masactrl_video.controls.single_pose import PosedPart, read_pose
from masactrl_video.errors import UserError
from masactrl_video.page.layout import Rect, pages_of, panel_places
from masactrl_video.page.lettering import BUILT_IN
from masactrl_video.page.placing import PlacedText, Point, place_texts
from masactrl_video.page.story import Page, PageStyle, Panel, Placement, Story
from masactrl_video.poses.pose import Pose
from masactrl_video.settings.names import Box

_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_NOSE, _NECK = 0, 1


@dataclass(frozen=True, eq=False)
class PlannedPanel:
    """A panel with everything that can be known of it without a model."""

    number: int
    """From 1, over all pages."""
    panel: Panel
    page: int
    """From 0."""
    place: Rect
    cast: Mapping[str, Placement]
    """Who is in it, by name; boxes are filled in from poses where several characters have no words."""
    texts: list[PlacedText]
    posed_by: Mapping[str, PosedPart] = field(default_factory=dict)
    """Poses by character; that of several people together under an empty name."""
    pose_picture: Path | None = None
    source_poses: Mapping[str, PosedPart] = field(default_factory=dict)
    """The pose in which each character was made, where its keys go with the limbs."""

    @property
    def poses(self) -> list[PosedPart]:
        """All poses in it."""
        return list(self.posed_by.values())

    @property
    def where(self) -> str:
        """How messages call it."""
        return f"panel {self.number}"

    @property
    def posed(self) -> bool:
        """Whether a pose guides it."""
        return bool(self.poses) or self.pose_picture is not None


def plan_panels(story: Story, pages: list[Page], folder: Path) -> list[PlannedPanel]:
    """All panels of a story, in order.

    Args:
        folder: paths in the story are relative to it.

    Raises:
        UserError: an unknown character, pose or layout, text that does not fit, or characters that cannot be told
            apart.
    """
    planned: list[PlannedPanel] = []
    page_number = 0
    for written, page in enumerate(pages, 1):
        where = f"pages.{written}.layout" if len(pages) > 1 or story.pages else "layout"
        panels = iter(page.panels)
        for rows in pages_of(len(page.panels), page.layout, where):
            for place in panel_places(rows, story.page, where):
                planned.append(_plan(story, next(panels), len(planned) + 1, page_number, place, folder))
            page_number += 1
    return planned


def _plan(story: Story, panel: Panel, number: int, page: int, place: Rect, folder: Path) -> PlannedPanel:
    where = f"panel {number}"
    cast = _cast(story, panel, where)
    poses, picture = _poses(panel, cast, folder, where)
    cast = _told_apart(story, cast, poses, (place.width, place.height), where)
    heads, radii_px = _heads(cast, poses, (place.width, place.height))
    style = styled(story, folder)
    texts = place_texts(panel, (place.width, place.height), style, heads, where, radii_px)
    return PlannedPanel(number, panel, page, place, cast, texts, poses, picture)


def styled(story: Story, folder: Path) -> PageStyle:
    """The page's look, its fonts relative to the story's folder."""
    if story.page.font is None:
        return story.page
    fonts = [font if font == BUILT_IN else folder / font for font in story.page.font]
    return story.page.model_copy(update={"font": fonts})


def _cast(story: Story, panel: Panel, where: str) -> dict[str, Placement]:
    if panel.characters is None:
        if len(story.characters) > 1:
            names = ", ".join(story.characters)
            raise UserError(f"{where}: say with `characters` who of {names} is in it; [NC] before the prompt: nobody")
        return {name: Placement() for name in story.characters}
    for name in panel.characters:
        if name not in story.characters:
            raise UserError(
                f"{where}: there is no character {name!r}; there are: {', '.join(story.characters) or 'none'}"
            )
    return dict(panel.characters)


def _poses(
    panel: Panel, cast: Mapping[str, Placement], folder: Path, where: str
) -> tuple[dict[str, PosedPart], Path | None]:
    """Poses by character (the panel's own under an empty name), and the ready-made picture if there is one."""
    poses: dict[str, PosedPart] = {}
    if panel.pose is not None and panel.pose != "none":
        found = read_pose(panel.pose, folder, f"{where}, pose")
        if isinstance(found, Path):
            return {}, found
        if len(cast) > 1 and len(found.people) == 1:
            raise UserError(f"{where}: pose {panel.pose!r} is of one person; give each character its own pose")
        only = next(iter(cast)) if len(cast) == 1 else ""
        poses[only] = PosedPart(found, (cast[only].box if only else None) or _WHOLE)
    for index, (name, placed) in enumerate(cast.items()):
        if placed.pose is None or placed.pose == "none":
            continue
        found = read_pose(placed.pose, folder, f"{where}, pose of {name}")
        if isinstance(found, Path):
            if len(cast) > 1:
                raise UserError(f"{where}: a pose picture is for the whole panel: give it as the panel's pose")
            return {}, found
        poses[name] = PosedPart(found, placed.box or (index / len(cast), 0.0, (index + 1) / len(cast), 1.0))
    return poses, None


def _told_apart(
    story: Story, cast: dict[str, Placement], poses: Mapping[str, PosedPart], size_px: tuple[int, int], where: str
) -> dict[str, Placement]:
    """Characters of a panel with several: each has words, a box, or a pose whose surroundings become its box.

    Who has a prompt of its own has a box too, in which it is read.
    """
    out = {}
    for name, placed in cast.items():
        if placed.prompt is not None and not placed.box and name not in poses:
            raise UserError(f"{where}: {name} has a prompt of its own: give it a box, or a pose, where that is read")
        told = len(cast) < 2 or placed.words or story.characters[name].words or placed.box
        if not told or (placed.prompt is not None and not placed.box):
            if name not in poses:
                raise UserError(f"{where}: where is {name}? Give it words (how the prompt names it), a box, or a pose")
            placed = placed.model_copy(update={"box": _around(poses[name].on(*size_px))})
        out[name] = placed
    return out


def _around(pose: Pose) -> Box:
    """The box around a pose's points, wider by an eighth of its height on each side, in fractions of its canvas."""
    points = [point for person in pose.people for point in person.body.tolist() if point[2] > 0]
    xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
    margin = (max(ys) - min(ys)) / 8
    across = [min(max(x / pose.width_px, 0.0), 1.0) for x in (min(xs) - margin, max(xs) + margin)]
    down = [min(max(y / pose.height_px, 0.0), 1.0) for y in (min(ys) - margin, max(ys) + margin)]
    return across[0], down[0], across[1], down[1]


def _heads(
    cast: Mapping[str, Placement], poses: Mapping[str, PosedPart], size_px: tuple[int, int]
) -> tuple[dict[str, Point], dict[str, float]]:
    """Where tails point: at the pose's nose, else at the upper part of the box or of the character's share.

    The second is how large heads are in px where a pose tells: as far as from the nose to the neck.
    """
    heads, radii_px = {}, {}
    for index, (name, placed) in enumerate(cast.items()):
        left, top, right, bottom = placed.box or (index / len(cast), 0.15, (index + 1) / len(cast), 1.0)
        heads[name] = ((left + right) / 2, top + 0.3 * (bottom - top))
        if name in poses:
            pose = poses[name].on(*size_px)
            nose, neck = (pose.people[0].body[point].tolist() for point in (_NOSE, _NECK))
            if nose[2] > 0:
                heads[name] = (nose[0] / size_px[0], nose[1] / size_px[1])
                if neck[2] > 0:
                    radii_px[name] = math.dist(nose[:2], neck[:2])
    return heads, radii_px
