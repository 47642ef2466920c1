"""Each means for long clips, on drawn clips of held-out characters: figures without it and with it, and its cost."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from drawn_clip import SIZE_PX, DrawnClip, Picture, Pictures, write_sheet
from numpy.typing import NDArray
from PIL import Image

from masactrl_video.demo.clip import alike, clip_frames, crossing_frames
from masactrl_video.demo.world.caption import caption
from masactrl_video.demo.world.frame import Frame, GroupFrame, draw_frame
from masactrl_video.demo.world.identity import SMALL_WORLD, Identity
from masactrl_video.demo.world.poses import pose_of
from masactrl_video.demo.world.read import read_identity
from masactrl_video.evaluate.cases import make_cases
from masactrl_video.evaluate.figures import UNNAMED, error_off_figure, error_on_figure, same
from masactrl_video.evaluate.leakage import LEAKS, leakage
from masactrl_video.evaluate.rendering import Variant, Way
from masactrl_video.jobs.make_character import make_character
from masactrl_video.measure.colour import delta_e, mean_colour, slope
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.settings.names import MaskCells
from masactrl_video.settings.presets import resolve

FLICKER = "flicker beyond the exact frames' own, levels"


@dataclass(frozen=True)
class Row:
    """One figure of one means."""

    means: str
    figure: str
    without: float
    with_it: float
    aim: str
    met: bool | None = None
    """None: there is no aim."""
    cost: float | None = None
    """Denoising a frame with it ÷ without."""
    digits: int = 2

    def line(self) -> str:
        """A row of Markdown."""
        met = {True: "yes", False: "no", None: ""}[self.met]
        cost = "" if self.cost is None else f"{self.cost:.2f}"
        shown = [f"{value:.{self.digits}f}" for value in (self.without, self.with_it)]
        return f"| {self.means} | {self.figure} | {shown[0]} | {shown[1]} | {self.aim} | {met} | {cost} |"


@dataclass
class Studio:
    """What all means share."""

    cases: int
    frames: int
    steps: int
    sheets: Path | None = None
    model: DiffusionModel | None = None
    work: Path = field(default_factory=lambda: Path(tempfile.mkdtemp()))
    made: int = 0

    def clip(self, exact: Sequence[Frame] | Sequence[GroupFrame]) -> DrawnClip:
        """A clip to be rendered."""
        self.made += 1
        clip = DrawnClip(exact, self.work / str(self.made), self.steps, self.model)
        self.model = clip.model
        return clip

    def identities(self) -> list[Identity]:
        """Held-out characters."""
        return [case.identity for case in make_cases(self.cases, 1, SIZE_PX, SMALL_WORLD)]

    def show(self, name: str, exact: Sequence[Frame] | Sequence[GroupFrame], ways: Mapping[str, Pictures]) -> None:
        """Write a sheet: the exact clip first, then each way."""
        if self.sheets is not None:
            self.sheets.mkdir(parents=True, exist_ok=True)
            write_sheet({"exact": [frame.image for frame in exact], **ways}, self.sheets / f"{name}.png")


def sources(studio: Studio) -> list[Row]:
    """Two sources along a clip in whose second half the character wears what the first half does not show."""
    errors: list[list[float]] = []
    kept: list[list[bool]] = []
    seams: list[list[float]] = []
    costs: list[float] = []
    half, both = studio.frames // 2, {"sources": {"0": "clip", str(studio.frames // 2): "clip"}}
    for identity in studio.identities():
        plain = replace(identity, pattern="plain", hat="none", scarf="none")
        dressed = replace(identity, pattern="dots", hat="cap", scarf="yellow")
        halves = [list(clip_frames(one, "dancing", studio.frames, SIZE_PX)) for one in (plain, dressed)]
        clip = studio.clip(halves[0][:half] + halves[1][half:])
        ways = {
            "without": clip.render("without", masa_steps=[], source="clip"),
            "one": clip.render("one", source="clip"),
            "two": clip.render("two", **both),
        }
        errors.append(
            [mean(error_on_figure(*pair) for pair in _pairs(made, clip.exact, half)) for made in ways.values()]
        )
        for way in ("one", "two"):
            seen = [
                read_identity(picture, _pose(number, studio.frames), SMALL_WORLD, plain)
                for number, picture in enumerate(ways[way])
                if number >= half
            ]
            kept.append([same(name, one, dressed) for one in seen for name in UNNAMED])
        same_clip = studio.clip(halves[0])
        hand_overs = [
            same_clip.render("nearest", **both),
            same_clip.render("mixed", **both, hand_over="mix", hand_over_frames=2),
        ]
        own = _seam([frame.image for frame in same_clip.exact], half)
        seams.append([_seam(made, half) / own for made in hand_overs])
        costs.append(clip.cost("two", "one"))
        studio.show("sources", clip.exact, ways)
    base = mean(row[0] for row in errors)
    one, two = (mean(row[n] for row in errors) / base for n in (1, 2))
    shares = [100 * float(np.mean(kept[first::2])) for first in (0, 1)]
    nearest, mixed = (mean(row[n] for row in seams) for n in (0, 1))
    return [
        Row(
            "two sources",
            "error on the character, second half ÷ no source",
            one,
            two,
            "≤ 0.5",
            two <= 0.5,
            mean(costs),
        ),
        Row("two sources", "kept of what the second shows alone, %", *shares, "≥ 80", shares[1] >= 80, digits=0),
        Row("mixed over 2 frames", "seam ÷ ordinary neighbours", nearest, mixed, "≤ 1.1", mixed <= 1.1),
    ]


def colours(studio: Studio) -> list[Row]:
    """Held colours over a clip that repeats its action."""
    figures: list[list[tuple[float, float]]] = []
    costs = []
    for identity in studio.identities()[:1]:
        exact = list(clip_frames(identity, "dancing", studio.frames, SIZE_PX, cycle=24))
        clip = studio.clip(exact)
        ways = {"free": clip.render("free", source="clip"), "held": clip.render("held", source="clip", hold_colours=1)}
        figures.append([drift(made, exact) for made in ways.values()])
        costs.append(clip.cost("held", "free"))
        studio.show("colours", exact, ways)
    free, held = ([mean(abs(row[n][what]) for row in figures) for what in (0, 1)] for n in (0, 1))
    return [
        Row("held colours", "ΔE2000, slope for 100 frames", free[0], held[0], "≤ 0.05", held[0] <= 0.05, mean(costs)),
        Row("held colours", "ΔE2000, deviation", free[1], held[1], "≤ half", held[1] <= free[1] / 2),
    ]


def noise(studio: Studio) -> list[Row]:
    """Noise that follows the body, and noise of each frame's own for comparison."""
    found: list[list[float]] = []
    costs = []
    for identity in studio.identities():
        exact = list(clip_frames(identity, "dancing", min(studio.frames, 8), SIZE_PX, cycle=24))
        clip = studio.clip(exact)
        ways = {kind: clip.render(kind, source="clip", noise=kind) for kind in ("shared", "body")}
        found.append([flicker(made, exact) for made in ways.values()])
        costs.append(clip.cost("body", "shared"))
        studio.show("noise", exact, ways)
    shared, body = (mean(row[n] for row in found) for n in (0, 1))
    return [Row("noise follows the body", FLICKER, shared, body, "≤ half", body <= shared / 2, mean(costs))]


def neighbour(studio: Studio) -> list[Row]:
    """The frame before beside the source, with half and with the whole of its weight; all frames in one chunk."""
    weights = (0.0, 0.5, 1.0)
    flickers: list[list[float]] = []
    errors: list[list[float]] = []
    costs: list[list[float]] = []
    for identity in studio.identities():
        exact = list(clip_frames(identity, "dancing", min(studio.frames, 8), SIZE_PX, cycle=24))
        clip = studio.clip(exact)
        ways = {f"neighbour {weight}": clip.render(f"n{weight}", source="clip", neighbour=weight) for weight in weights}
        flickers.append([flicker(made, exact) for made in ways.values()])
        errors.append([mean(error_on_figure(*pair) for pair in _pairs(made, exact, 1)) for made in ways.values()])
        costs.append([clip.cost(f"n{weight}", "n0.0", frames=4) for weight in weights[1:]])
        studio.show("neighbour", exact, ways)
    flickers_of, error = ([mean(row[n] for row in rows) for n in range(len(weights))] for rows in (flickers, errors))
    rows = []
    for n, weight in enumerate(weights[1:], start=1):
        means, cost = f"one neighbour, weight {weight:g}", mean(row[n - 1] for row in costs)
        met = flickers_of[n] <= flickers_of[0] / 2
        rows.append(Row(means, FLICKER, flickers_of[0], flickers_of[n], "≤ half", met, cost))
        rows.append(Row(means, "error on the character, levels", error[0], error[n], ""))
    return rows


CELLS: tuple[MaskCells, ...] = ("nearest", "area")


def masks(studio: Studio) -> list[Row]:
    """What masks keep of details, and what they keep out of the ground.

    For leakage see `evaluate.leakage`; cases count in which it is a lot without masks.
    """
    way = _way(studio)
    variants = {"source": Variant(1, 8)}
    for cells in CELLS:
        variants |= {
            f"cells by {cells}, rim {rim}": Variant(1, 8, "masked", rim=rim, cells=cells) for rim in (0, "auto")
        }
    for ground in ("own", "still"):
        variants[f"cells by area, ground {ground}"] = Variant(1, 8, "masked", cells="area", background=ground)
    kept: dict[str, list[bool]] = {name: [] for name in variants}
    leaks: dict[str, list[float]] = {name: [] for name in variants}
    for case in make_cases(studio.cases, 2, SIZE_PX, SMALL_WORLD):
        made = way.render(case, list(variants.values()), real=True)
        for name, variant in variants.items():
            for posed, picture in zip(case.targets, made.targets[variant], strict=True):
                seen = read_identity(picture, posed.pose, SMALL_WORLD, case.identity)
                kept[name] += [same(attribute, seen, case.identity) for attribute in UNNAMED]
        leaking = leakage(case, way, list(variants.values()))
        for name, variant in variants.items():
            leaks[name] += leaking[variant]
        pictures = [[picture] for picture in (made.targets[variant][0] for variant in variants.values())]
        studio.show("masks", [case.targets[0].drawn(case.identity)], dict(zip(variants, pictures, strict=True)))
    share = {name: float(np.mean(values)) for name, values in kept.items()}
    leaky = [n for n, level in enumerate(leaks["source"]) if level >= LEAKS]
    rows = []
    for name in list(variants)[1:]:
        means = f"masked, {name}"
        ratio = share[name] / share["source"]
        rows.append(Row(means, "details kept ÷ in source mode", 1.0, ratio, "≥ 0.95", ratio >= 0.95))
        if leaky:
            before, after = (mean(leaks[way][n] for n in leaky) for way in ("source", name))
            label = f"leakage, levels, in {len(leaky)} of {len(leaks['source'])} frames that leak"
            rows.append(Row(means, label, before, after, "≤ half", after <= before / 2))
    return rows


def _way(studio: Studio) -> Way:
    clip = studio.clip(list(clip_frames(studio.identities()[0], "standing", 1, SIZE_PX)))
    return Way(clip.model, resolve(clip.base, {}))


def backgrounds(studio: Studio) -> list[Row]:
    """A camera that turns behind a character."""
    errors: dict[str, list[float]] = {}
    costs: dict[str, list[float]] = {}
    for identity in studio.identities():
        exact = list(clip_frames(identity, "dancing", min(studio.frames, 6), SIZE_PX, pan=0.6))
        clip, words = studio.clip(exact), [identity.species, "shirt", "pants"]
        masked = {"source": "clip", "attention_mode": "masked", "mask_words": words}
        ways = {"today": clip.render("today", source="clip")}
        for ground in ("source", "own", "still", "clip"):
            ways[ground] = clip.render(f"ground-{ground}", **masked, background=ground)
        for name, made in ways.items():
            errors.setdefault(name, []).append(mean(error_off_figure(*pair) for pair in _pairs(made, exact, 1)))
            if name not in ("today", "source"):
                costs.setdefault(name, []).append(clip.cost(f"ground-{name}", "ground-source"))
        studio.show("backgrounds", exact, ways)
    today = mean(errors["today"])
    best = min(("own", "still", "clip"), key=lambda name: mean(errors[name]))
    rows = []
    for name in ("own", "still", "clip"):
        part = mean(errors[name]) / today
        aim, met = ("≤ 0.6", part <= 0.6) if name == best else ("", None)
        cost = mean(costs[name])
        rows.append(Row(f"background {name}", "a pan: error on the ground ÷ source mode", 1.0, part, aim, met, cost))
    return rows


def cast(studio: Studio) -> list[Row]:
    """Two alike characters who cross: one source for both, and one for each."""
    swapped: dict[str, list[bool]] = {"one": [], "cast": []}
    errors: dict[str, list[float]] = {"one": [], "cast": []}
    costs = []
    for identity in studio.identities():
        pair = alike(identity)
        frames = min(studio.frames, 8)
        exact, others = (list(crossing_frames(two, frames, SIZE_PX)) for two in (pair, pair[::-1]))
        clip = studio.clip(exact)
        for name, one in zip(("first", "second"), pair, strict=True):
            _keep(clip, name, one)
        prompts = {str(number): caption(one, "walking") for number, one in enumerate(pair)}
        ways = {
            "one": clip.render("one", character="first"),
            "cast": clip.render("cast", cast={"0": "first", "1": "second"}, cast_prompts=prompts),
        }
        for way, made in ways.items():
            for picture, right, wrong in zip(made, exact, others, strict=True):
                for mask in right.masks:
                    if mask.sum() >= 100:  # who is hidden is nobody's
                        own, other = (_error(picture, frame.image, mask) for frame in (right, wrong))
                        errors[way].append(own)
                        swapped[way].append(other < own)
        costs.append(clip.cost("cast", "one"))
        studio.show("cast", exact, ways)
    one, each = (float(sum(swapped[way])) for way in ("one", "cast"))
    label = f"looks swapped, of {len(swapped['cast'])}"
    return [
        Row("a source for each person", label, one, each, "0", each == 0, mean(costs), digits=0),
        Row("a source for each person", "error on both, levels", mean(errors["one"]), mean(errors["cast"]), ""),
    ]


def _keep(clip: DrawnClip, name: str, identity: Identity) -> None:
    """Save a character from its exact picture."""
    pose = pose_of("standing", 0.0, x=0.5, ground=0.94, height=0.78)
    picture = clip.folder / f"{name}.png"
    Image.fromarray(draw_frame(identity, pose, "standing", SIZE_PX, SIZE_PX).image).save(picture)
    kept: dict[str, Any] = {**clip.base, "width": SIZE_PX, "height": SIZE_PX, "guidance": [], "pose_json": None}
    settings = resolve(kept, {"source_image": picture})
    words = [identity.species, "shirt", "pants"]
    make_character(
        settings, name, caption=caption(identity, "standing"), words=words, model=DiffusionModel(clip.model.pipe)
    )


MEANS: Mapping[str, Callable[[Studio], list[Row]]] = {
    "sources": sources,
    "colours": colours,
    "noise": noise,
    "neighbour": neighbour,
    "masks": masks,
    "backgrounds": backgrounds,
    "cast": cast,
}


def _pose(number: int, frames: int) -> Any:
    return pose_of("dancing", number / frames, x=0.5, ground=0.94, height=0.78)


def _pairs(made: Pictures, exact: Sequence[Any], first: int) -> list[tuple[Picture, Any]]:
    return list(zip(made, exact, strict=True))[first:]


def mean(values: Any) -> float:
    return statistics.mean(values)


def _error(picture: Picture, exact: Picture, mask: NDArray[np.bool_]) -> float:
    return float(np.abs(np.subtract(picture, exact, dtype=np.int16))[mask].mean())


def _seam(pictures: Sequence[Picture], at: int) -> float:
    """Difference from the frame before to frame `at` ÷ the median of all neighbours'."""
    steps = [float(np.abs(np.subtract(b, a, dtype=np.float64)).mean()) for a, b in pairwise(pictures)]
    return steps[at - 1] / statistics.median(steps)


def drift(made: Pictures, exact: Sequence[Frame]) -> tuple[float, float]:
    """ΔE2000 of the character's mean colour to the exact frame's: slope for 100 frames, deviation."""
    pairs = [(mean_colour(p, f.mask), mean_colour(f.image, f.mask)) for p, f in zip(made, exact, strict=True)]
    away = np.array([(n, delta_e(a, b)) for n, (a, b) in enumerate(pairs) if a is not None and b is not None])
    return slope(away), float(away[:, 1].std())


def flicker(made: Pictures, exact: Sequence[Frame]) -> float:
    """How much more neighbours differ on the character than the exact ones, point by point, in levels of 255."""
    found = []
    for (one, other), (first, second) in zip(pairwise(made), pairwise(exact), strict=True):
        more = np.abs(np.subtract(one, other, dtype=np.int16)) - np.abs(
            np.subtract(first.image, second.image, dtype=np.int16)
        )
        found.append(float(np.maximum(more, 0)[first.mask | second.mask].mean()))
    return mean(found)
