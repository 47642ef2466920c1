"""A clip measured: its frames go by once, and every meter looks at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import get_args

from masactrl_video.errors import UserError, any_of, counted
from masactrl_video.measure.colour import Colour
from masactrl_video.measure.fidelity import UNEDITED, Kept
from masactrl_video.measure.figure import Figure, Measured, Question
from masactrl_video.measure.flow import DisFlow, FlowFinder
from masactrl_video.measure.following import Following
from masactrl_video.measure.moments import Meter, Moment
from masactrl_video.measure.motion import DynamicDegree
from masactrl_video.measure.opened import FindPose, Opened
from masactrl_video.measure.steadiness import Flicker, WarpError
from masactrl_video.progress import counting

QUESTIONS = get_args(Question)
"""In the order of a report."""


@dataclass(frozen=True)
class Means:
    """With what it is measured."""

    find_flow: FlowFinder
    find_pose: FindPose | None = None
    learned: Sequence[Meter] = ()
    """Meters with weights, new for each clip."""
    loop: bool = False
    """Whether the last frame leads to the first."""


def measure_opened(opened: Opened, means: Means | None = None) -> Measured:
    """All figures for which there is what they need.

    Raises:
        UserError: a frame cannot be decoded, or nobody is found in any.
    """
    means = means or Means(DisFlow())
    meters = [*_meters(opened, means), *means.learned]
    people = _People()
    with ThreadPoolExecutor(max_workers=2) as pool:  # OpenCV, NumPy and torch let go of the interpreter
        moments = opened.moments(means.find_pose)
        for moment in counting(moments, "measure", "frame", total=len(opened.clip)):
            people.see(moment)
            for done in [pool.submit(meter.add, moment) for meter in meters]:
                done.result()
    people.check(opened, means)
    figures = [figure for meter in meters for figure in meter.figures()]
    info = opened.clip.info
    return Measured(
        label=opened.given.name,
        path=opened.given.result,
        num_frames=len(opened.clip),
        width_px=info.width_px,
        height_px=info.height_px,
        frame_rate=info.average_frame_rate if opened.is_moving else None,
        figures=tuple(sorted(map(_with_strength(figures), figures), key=_place)),
        remarks=opened.remarks,
        not_measured=tuple(_not_measured(opened, means)),
    )


def _meters(opened: Opened, means: Means) -> Iterator[Meter]:
    yield Colour(opened.source, opened.source_mask, opened.is_moving)
    if opened.is_moving:
        yield Flicker(means.loop)
        yield DynamicDegree(means.find_flow, opened.clip.info.average_frame_rate)
    if opened.original is not None:
        yield WarpError(means.find_flow)
    if opened.original is not None or opened.picture is not None:
        yield Kept()
    if opened.wanted is not None or means.find_pose is not None:
        yield Following()


def _with_strength(figures: Sequence[Figure]) -> Callable[[Figure], Figure]:
    strength = next((figure for figure in figures if figure.about.name == "edit-strength"), None)

    def noted(figure: Figure) -> Figure:
        if strength is None or not figure.about.rewards_nothing:
            return figure
        nothing = ": nothing was edited" if strength.value < UNEDITED else ""
        return replace(figure, notes=(*figure.notes, f"edit strength {strength.text}{nothing}"))

    return noted


def _place(figure: Figure) -> int:
    return QUESTIONS.index(figure.about.question)


class _People:
    """Whether anybody was wanted, and anybody found."""

    def __init__(self) -> None:
        self.wanted = self.found = self.frames = 0

    def see(self, moment: Moment) -> None:
        self.frames += moment.wanted is not None
        self.wanted += moment.wanted is not None and moment.wanted.has_person
        self.found += moment.found is not None and moment.found.has_person

    def check(self, opened: Opened, means: Means) -> None:
        if not self.frames or (means.find_pose is None and opened.found is None):
            return
        if not self.wanted:
            raise UserError(
                f"no person is found in {any_of(self.frames, 'frame')} of {opened.given.original}; give the poses with "
                "--poses, another --pose-detector, or none"
            )
        if not self.found:
            raise UserError(
                f"no person is found in {any_of(self.frames, 'frame')} of {opened.given.result}; take another "
                "--pose-detector, or give --result-poses; without both, the pose is not measured"
            )


def _not_measured(opened: Opened, means: Means) -> Iterator[tuple[str, str]]:
    if opened.is_moving and opened.original is None:
        yield "warp error", "the clip that it was made from: --input"
    if opened.original is None and opened.picture is None:
        yield "what was kept, and edit strength", "the clip that it was made from: --input"
    if opened.wanted is None and (means.find_pose is None or (opened.original is None and opened.picture is None)):
        yield "pose", "the poses that it is to follow: --poses, or --input with a --pose-detector"
    elif means.find_pose is None and opened.found is None:
        yield "pose", "the poses that it shows: --pose-detector, or --result-poses"
    if opened.given.source is None:
        yield "colour against the source (the first frame stands in)", "a picture of the character: --source"
    if opened.given.masks is None:
        yield "character and background apart", "where the character is: --masks"
    if opened.is_moving and not means.loop:
        yield "seam of the loop", "that it is meant to loop: --loop"
    if opened.match is not None and (without := len(opened.clip) - len(opened.match.partners)):
        yield f"{counted(without, 'frame')} against the input", "an input frame of their own"
