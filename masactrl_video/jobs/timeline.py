"""The sources of a clip: placed along it, and recorded, each once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import repeat

from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.controls.canvas import EmptyCanvas
from masactrl_video.controls.clip import FittedClip
from masactrl_video.controls.extract import GuidanceBeside
from masactrl_video.errors import UserError, counted
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.poses.warp import Skeletons
from masactrl_video.render.plan import RecordedEntry
from masactrl_video.settings.cast import cast_alone, cast_members
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.timeline import (
    GENERATED,
    changed,
    check_gaps,
    first_source,
    later_sources,
    source_alone,
    source_frames,
)
from masactrl_video.sources.control import plan_attention
from masactrl_video.sources.key_frames import chosen, distance_in, spread
from masactrl_video.sources.plan import PlannedSource, plan_generated_later, plan_source, recorded_references
from masactrl_video.sources.saved import canvas_px, open_saved
from masactrl_video.sources.skeletons import clip_skeletons
from masactrl_video.sources.timeline import Timeline
from masactrl_video.video.frame import Pictures

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipSources:
    """All sources of a clip, recorded."""

    planned: PlannedSource
    """The first."""
    recorded: tuple[CachedSource, ...]
    characters: tuple[bool, ...]
    """Which of them are saved characters."""
    timeline: Timeline
    skeletons: Skeletons | None = None
    """Where the sources' keys go with the limbs."""
    people: tuple[int, ...] = ()
    """Who follows each, where people have sources of their own."""
    references: CachedSource | None = None
    """What stands beside every frame, whichever source that follows."""

    @property
    def first(self) -> CachedSource:
        """From its noise all frames start."""
        return self.recorded[0]

    @property
    def later(self) -> Sequence[CachedSource]:
        """All but the first."""
        return self.recorded[1:]

    def entries(self) -> tuple[RecordedEntry, ...]:
        """As a plan has them."""
        followed = tuple(
            RecordedEntry(
                folder=source.entry.folder.absolute(),
                content=source.entry.index.content,
                frame=frame,
                of_character=is_character,
                person=person,
            )
            for source, frame, is_character, person in zip(
                self.recorded, self._frames(), self.characters, self.people or repeat(None), strict=False
            )
        )
        if self.references is None:
            return followed
        entry = self.references.entry
        return (*followed, RecordedEntry(folder=entry.folder.absolute(), content=entry.index.content, beside=True))

    def _frames(self) -> Sequence[int]:
        return (0,) * len(self.people) or self.timeline.starts

    def along(self) -> list[dict[str, object]]:
        """For the report, where there are several: from which frame on each holds, or who follows it."""
        entries = [{"cache_entry": str(source.entry.folder)} for source in self.recorded]
        if self.people:
            return [{"person": person, **entry} for person, entry in zip(self.people, entries, strict=True)]
        if len(entries) == 1:
            return []
        return [{"frame": frame, **entry} for frame, entry in zip(self.timeline.starts, entries, strict=True)]


def record_sources(
    settings: Settings,
    model: DiffusionModel,
    clip: FittedClip,
    kinds: Mapping[str, GuidanceBeside],
    on_recorded: Callable[[int, CachedSource], None],
) -> ClipSources:
    """Place the sources that the settings ask for, and record those that are not in the cache.

    Args:
        kinds: kind → guidance of the clip, in the making.
        on_recorded: told of each by its frame, as soon as it is there.

    Raises:
        UserError: see `plan_source`; or guidance by which no frames can be chosen.
    """
    if settings.cast:
        return _record_cast(settings, model, clip, kinds, on_recorded)
    guidance = [kinds[settings.controls[name].kind] for name in settings.guidance]
    first = first_source(settings)
    planned = plan_source(first, model, clip, guidance)
    skeletons = None
    if settings.source_positions == "pose":  # what is wrong with a pose is said before anything is recorded
        owners = _owners(settings, first, _placed(settings, len(clip), kinds))
        skeletons = clip_skeletons(settings, owners, kinds, clip.size_px)
    is_own = not settings.sources and settings.key_frames is None and settings.character is None
    recorded = [planned.record(model, first, may_be_live=is_own)]
    on_recorded(0, recorded[0])
    placed = _placed(settings, len(clip), kinds)
    owners = _owners(settings, first, placed)
    for (frame, what), alone in zip(placed[1:], owners[1:], strict=True):
        with _said_of(f"sources, frame {frame}"):
            if what == GENERATED:
                limbs = None if skeletons is None else Skeletons(skeletons.sources[:1], (skeletons.frames[frame],))
                later = plan_generated_later(alone, model, clip, guidance, recorded[0], limbs)
            else:
                later = plan_source(alone, model, clip, guidance)
        _check_same_steps(frame, later, planned)
        recorded.append(later.record(model, alone))
        on_recorded(frame, recorded[-1])
    starts = tuple(frame for frame, _ in placed)
    if len(starts) > 1:
        logger.info("sources: %s, from frames %s on", counted(len(starts), "source"), ", ".join(map(str, starts)))
    mixed = settings.hand_over_frames if settings.hand_over == "mix" and len(starts) > 1 else 0
    characters = tuple(own.character is not None for own in owners)
    references = recorded_references(settings, model)
    timeline = Timeline(starts, mixed)
    return ClipSources(planned, tuple(recorded), characters, timeline, skeletons, references=references)


def _owners(settings: Settings, first: Settings, placed: Sequence[tuple[int, str]]) -> list[Settings]:
    """Settings of each source alone."""
    return [first, *(source_alone(settings, frame, what) for frame, what in placed[1:])]


def _record_cast(
    settings: Settings,
    model: DiffusionModel,
    clip: FittedClip,
    kinds: Mapping[str, GuidanceBeside],
    on_recorded: Callable[[int, CachedSource], None],
) -> ClipSources:
    """The sources of people: saved characters, each with the mask of its own words, if it has some."""
    scheduler, plan = plan_attention(settings, model, clip.size_px)
    members, recorded = cast_members(settings), []
    owners = [cast_alone(settings, who) for _, who in members]
    skeletons = clip_skeletons(settings, owners, kinds, clip.size_px)
    for number, alone in enumerate(owners):
        with _said_of(f"cast, person {members[number][0]}"):
            saved = open_saved(alone)
            recipe = saved.index.recipe
            if recipe.words:
                words = {"attention_mode": "masked", "mask_words": recipe.words, "prompt": recipe.caption}
                alone = changed(alone, words)
            later = plan_source(alone, model, EmptyCanvas(canvas_px(saved, model)), ())
        recorded.append(later.record(model, alone))
        on_recorded(number, recorded[-1])
    planned = replace(later, plan=plan, scheduler=scheduler)
    people = tuple(person for person, _ in members)
    references = recorded_references(settings, model)
    characters = (True,) * len(people)
    return ClipSources(planned, tuple(recorded), characters, Timeline(), skeletons, people, references)


@contextmanager
def _said_of(where: str) -> Iterator[None]:
    """What is wrong with a source names it."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"{where}: {error}") from error


def _placed(settings: Settings, frames: int, kinds: Mapping[str, Pictures]) -> list[tuple[int, str]]:
    """Frame and kind of each source; what the first one is, the settings say elsewhere."""
    if settings.sources:
        return source_frames(settings)
    if settings.key_frames is None:
        return [(0, GENERATED)]
    if settings.key_frames == "auto":
        whole = {kind: made.whole() for kind, made in kinds.items() if isinstance(made, GuidanceBeside)}
        apart = settings.hand_over_frames if settings.hand_over == "mix" else 1
        places = chosen(frames, distance_in(whole), settings.key_frame_threshold, apart)
    else:
        places = spread(settings.key_frames, frames)
    try:
        check_gaps(places, settings)
    except ValueError as error:
        raise UserError(str(error)) from error
    return [(frame, later_sources(settings)) for frame in places]


def _check_same_steps(frame: int, later: PlannedSource, first: PlannedSource) -> None:
    if later.scheduler.timesteps.tolist() != first.scheduler.timesteps.tolist():
        raise UserError(f"sources, frame {frame}: its denoising steps are not the first source's; use one scheduler")
