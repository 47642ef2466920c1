"""Times of frames as whole ticks, so that nothing drifts."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise, product

from masactrl_video.errors import UserError

# Times that were exact explain themselves exactly. Matroska and WebM keep whole milliseconds: 30 frames/s read
# 33, 34, 33 ms …; in a short clip 24 and 23.976 frames/s are both that close, so this comes second.
_TOLERANCES_SECONDS = (0.00002, 0.001)


@dataclass(frozen=True)
class Ticks:
    """Durations of frames in whole ticks."""

    per_second: Fraction
    durations: tuple[int, ...]
    """0 for a frame that is left out."""

    @property
    def seconds(self) -> Fraction:
        """Of all frames together."""
        return sum(self.durations) / self.per_second

    @property
    def shown(self) -> tuple[int, ...]:
        """Durations of the frames that are not left out."""
        return tuple(duration for duration in self.durations if duration)

    def at_least(self, least: int) -> Ticks:
        """No frame shorter than `least`, and all together as long as before.

        A frame may come later by less than `least`, as the ones before it need; one that would be later still is left
        out, and so is one that would end after the last. The first always stays.
        """
        if min(self.durations) >= least:
            return self
        ends = list(accumulate(self.durations))
        starts = {0: 0}  # of the frames that stay
        for frame, due in enumerate(ends[:-1], start=1):
            start = max(due, next(reversed(starts.values())) + least)
            if start < due + least and start + least <= ends[-1]:
                starts[frame] = start
        stops = [*list(starts.values())[1:], ends[-1]]
        lasting = {frame: stop - start for (frame, start), stop in zip(starts.items(), stops, strict=True)}
        return Ticks(self.per_second, tuple(lasting.get(frame, 0) for frame in range(len(ends))))


def plan_ticks(durations_seconds: Sequence[float], ticks_per_second: int, *, keeps_any_rate: bool) -> Ticks:
    """One tick a frame where the rate is constant and the container can hold it, else the container's own ticks.

    Raises:
        UserError: a frame is shorter than a tick.
    """
    rate = constant_rate(durations_seconds) if keeps_any_rate else None
    if rate is not None:
        return Ticks(rate, (1,) * len(durations_seconds))
    ends = [0, *(round(end * ticks_per_second) for end in accumulate(durations_seconds))]
    ticks = tuple(after - before for before, after in pairwise(ends))
    if min(ticks) < 1:
        shortest = ticks.index(min(ticks))
        raise UserError(
            f"frame {shortest} lasts {durations_seconds[shortest]:.4f} s, but this kind of video "
            f"cannot show frames for less than {1 / ticks_per_second} s: choose another kind, such as MP4"
        )
    return Ticks(Fraction(ticks_per_second), ticks)


def constant_rate(durations_seconds: Sequence[float]) -> Fraction | None:
    """The plainest frame rate that shows every frame within a millisecond of its time; None where the rate varies.

    Whole rates come first, then the NTSC ones (n · 1000/1001), then the nearest fraction.
    """
    measured = len(durations_seconds) / sum(durations_seconds)
    ntsc = Fraction(round(measured * 1.001) * 1000, 1001)
    candidates = (Fraction(round(measured)), ntsc, Fraction(measured).limit_denominator(1001))
    for tolerance_seconds, rate in product(_TOLERANCES_SECONDS, candidates):
        if rate > 0 and _largest_error_seconds(rate, durations_seconds) <= tolerance_seconds:
            return rate
    return None


def _largest_error_seconds(rate: Fraction, durations_seconds: Sequence[float]) -> float:
    ends = accumulate(durations_seconds)
    return max(abs(end - n / float(rate)) for n, end in enumerate(ends, start=1))


def timed_stream(pictures: Iterable[bytes], ticks: Ticks) -> Iterator[bytes]:
    """PNG files as an IVF stream, the plainest that has a time for each (https://wiki.multimedia.cx/index.php/IVF).

    Those that `ticks` leaves out are taken from `pictures` all the same.

    Raises:
        ValueError: there are more or fewer pictures than durations.
    """
    rate = ticks.per_second
    yield struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, b"MPNG", 0, 0, rate.numerator, rate.denominator, 0, 0)
    start = 0
    for picture, duration in zip(pictures, ticks.durations, strict=True):
        if duration:
            yield struct.pack("<IQ", len(picture), start) + picture
        start += duration
