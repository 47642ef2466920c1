"""A comic's pages before they are done: places, captions and balloons, with the panels that there are so far."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masactrl_video.jobs.comic.plan import plan_panels, styled
from masactrl_video.page.compose import compose_page
from masactrl_video.page.story_file import pages_with_panels
from masactrl_video.video.png import read_png
from masactrl_video.web.job import Job
from masactrl_video.web.making import story_of

_NOT_YET = 214
"""The grey of a panel that is not there."""


def pages_so_far(job: Job, panels: Path | None = None) -> list[NDArray[np.uint8]]:
    """Pages RGB uint8 (height, width, 3).

    Args:
        panels: where finished ones lie.

    Raises:
        UserError: the story cannot be drawn.
    """
    made = sorted(panels.glob("[!.]*.png")) if panels is not None else []
    return _pages(_Known(job, tuple((path, path.stat().st_mtime_ns) for path in made)))


class _Known:
    """A job with its panels, by what its pages depend on."""

    def __init__(self, job: Job, panels: tuple[tuple[Path, int], ...]) -> None:
        self.job, self.panels = job, panels
        story = Path(job.more["story"])
        self._facts = (story, story.read_bytes(), str(job.more), job.preset, panels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known) and self._facts == other._facts

    def __hash__(self) -> int:
        return hash(self._facts)


@functools.lru_cache(maxsize=16)
def _pages(known: _Known) -> list[NDArray[np.uint8]]:
    path, story = Path(known.job.more["story"]), story_of(known.job)
    planned, style = plan_panels(story, pages_with_panels(story, path), path.parent), styled(story, path.parent)
    made = {file.stem: file for file, _ in known.panels}
    pages = []
    for number in range(planned[-1].page + 1):
        parts = []
        for panel in (one for one in planned if one.page == number):
            file = made.get(f"{panel.number:03d}")
            blank = np.full((panel.place.height, panel.place.width, 3), _NOT_YET, np.uint8)
            parts.append((panel.place, blank if file is None else read_png(file), panel.texts))
        pages.append(compose_page(parts, style))
    return pages
