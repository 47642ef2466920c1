"""The panels of a comic, rendered by other processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from masactrl_video.engines.work import check_weights, own_device, recorded_at
from masactrl_video.jobs.comic.cast import Picture
from masactrl_video.jobs.comic.panels import PanelPicture, panel_picture, plan_job
from masactrl_video.jobs.comic.plan import PlannedPanel
from masactrl_video.model.loading.from_settings import model_from_settings
from masactrl_video.page.story import Story
from masactrl_video.settings.settings import Settings


@dataclass(frozen=True)
class Panels:
    """A `Work`: a number, from 0, gives the panel's picture."""

    story: Story
    settings: Settings
    """With the control for poses, where anything has one."""
    planned: Sequence[PlannedPanel]
    drawn: Sequence[Picture | None]
    """The pose of each."""
    made_from: Sequence[str]
    """See `panels.panel_made_from`."""
    characters: Sequence[str]
    sources: Sequence[Path]
    """Of each character."""
    weights: Mapping[str, str]
    """Of the owner's model."""

    def open(self, sources: Sequence[Path]) -> Callable[[int], PanelPicture]:
        """Load the model; what renders a panel."""
        settings = self.settings.model_copy(update={"device": own_device(self.settings.device)})
        posed = model_from_settings(settings)
        check_weights(posed, self.weights)
        bare, exact = replace(posed, networks=()), settings.cache_dtype == "exact"
        recorded = {
            name: recorded_at(path, posed, exact=exact) for name, path in zip(self.characters, sources, strict=True)
        }

        def render(number: int) -> PanelPicture:
            job = plan_job(self.planned[number], self.story, self.settings, posed, bare)
            return panel_picture(job, recorded, self.drawn[number], self.made_from[number])

        return render
