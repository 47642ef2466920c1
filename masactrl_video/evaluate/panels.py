"""Whether characters stay themselves in comic panels: alone against a clip, and two in one panel against alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masactrl_video.demo.world.identity import WORLDS, Identity
from masactrl_video.demo.world.read import read_identity
from masactrl_video.errors import counted
from masactrl_video.evaluate.cases import Posed
from masactrl_video.evaluate.figures import error_on_figure
from masactrl_video.evaluate.measure import Measured
from masactrl_video.evaluate.panel_stories import (
    Actor,
    make_actors,
    make_pairs,
    write_clip,
    write_pair_story,
    write_single_story,
)
from masactrl_video.evaluate.results import model_folder, result_files, write_results
from masactrl_video.evaluate.table import Figure
from masactrl_video.jobs.comic.comic import render_comic
from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.jobs.run.report import Report
from masactrl_video.jobs.run.run import Place, alone
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.from_settings import model_from_settings
from masactrl_video.page.sheet import Panel, labelled_sheet
from masactrl_video.page.story_file import read_story
from masactrl_video.progress import counting
from masactrl_video.settings.presets import read_preset, resolve
from masactrl_video.video.png import read_png

_PAIR_PANELS = 2
_ON_SHEET = 6

Picture = NDArray[np.uint8]


def evaluate_panels(
    folder: Path,
    *,
    model: str,
    actors: int,
    world: str,
    overwrite: bool,
    panels: int = 20,
    changes: Mapping[str, Any] | None = None,
) -> str:
    """Render clips and comics of held-out characters and write `panels.md`, `panels.json` and `panels.png`.

    Args:
        folder: for the files.
        model: `demo`, or a folder that `masactrl_video.demo.export` wrote.
        actors: held-out characters.
        world: what the model was trained on, a name of `demo.world.identity.WORLDS`.
        overwrite: replace the files.
        panels: of each character alone.
        changes: to the demo preset's settings.

    Returns:
        The table in Markdown.

    Raises:
        UserError: the folder has such files already, or the model's weights are not there.
    """
    asked = {"model": model, "actors": actors, "world": world, "panels": panels, "changes": str(changes or {})}
    with alone(Place.folder(folder), asked, lambda: result_files(folder, _FILES, overwrite)) as report:
        files = result_files(folder, _FILES, overwrite)
        return _evaluate(files, model, actors, world, panels, dict(changes or {}), report)


_FILES = ("panels.md", "panels.json", "panels.png")


def _evaluate(
    files: Sequence[Path], model: str, actors: int, world: str, panels: int, changes: dict[str, Any], report: Report
) -> str:
    measured, pictures = Measured(), []
    with TemporaryDirectory() as work:
        studio = Studio(model, world, Path(work), changes)
        report.model = studio.posed
        cast = make_actors(actors, panels, studio.size_px, studio.world)
        for actor in counting(cast, "alone", "character"):
            pictures.append(studio.alone(actor, measured))
        for pair in counting(make_pairs(cast), "together", "pair"):
            pictures.append(studio.together(pair, measured))
    table = as_markdown(
        measured, f"{counted(actors, 'held-out character')}, {counted(panels, 'panel')} each, {studio.size_px} px high."
    )
    write_results(files, table, measured, labelled_sheet(pictures))
    return table


def figures(measured: Measured) -> list[Figure]:
    """What is asked of panels."""
    found = [
        Figure(
            "identity error in comic panels ÷ in a clip", measured.mean("panel") / measured.mean("clip"), "", 1.1, False
        )
    ]
    if "together" in measured.values:
        ratio = measured.mean("together") / measured.mean("alone")
        found.append(Figure("two characters in one panel: error of each ÷ alone", ratio, "", 1.3, False))
        found.append(Figure("swapped identities", float(np.sum(measured.values["swapped"])), "", 0, False))
    return found


def as_markdown(measured: Measured, heading: str) -> str:
    """The figures with their targets, and the errors that they come from."""
    lines = [heading, "", "| figure | value | target | met |", "| --- | --- | --- | --- |"]
    lines += [figure.row() for figure in figures(measured)]
    names = {"clip": "in a clip", "panel": "in panels", "together": "two in one panel", "alone": "the same alone"}
    errors = [f"{text} {measured.mean(name):.1f}" for name, text in names.items() if name in measured.values]
    return "\n".join([*lines, "", f"Error on the figure, levels of 255: {', '.join(errors)}."]) + "\n"


def is_swapped(picture: Picture, posed: Posed, own: Identity, other: Identity) -> bool:
    """Whether a figure looks more like the other character of its panel, drawn in the same pose, than like itself."""
    return error_on_figure(picture, posed.drawn(other)) < error_on_figure(picture, posed.drawn(own))


class Studio:
    """A loaded model, and the commands `animate` and `comic` with it."""

    def __init__(self, model: str, world: str, work: Path, changes: dict[str, Any]) -> None:
        folder = model_folder(model, "controlnet-pose")
        pose = {"kind": "pose", "adapter": "controlnet", "model": str(folder / "controlnet-pose")}
        self.settings = {"model": str(folder), "controls": {"pose": pose}, **changes}
        self.work, self.world = work, WORLDS[world]
        self.posed = model_from_settings(self._resolved({"clip": "evaluation", "guidance": ["pose"]}))
        self.bare = DiffusionModel(self.posed.pipe)
        self.size_px = self.posed.native_size_px[0]
        self._sources: dict[str, Identity] = {}
        self._errors: dict[str, list[float]] = {}

    def alone(self, actor: Actor, measured: Measured) -> list[Panel]:
        """A character in a clip and in panels, in the same poses; returns a row for the sheet."""
        settings = self._resolved(write_clip(actor, self.work / f"{actor.name}-clip.json"))
        clip = render_clip(settings, self.work / f"{actor.name}-clip.mp4", model=self.posed)
        who = read_identity(read_png(clip.source), actor.source.pose, self.world)
        frames = [read_png(path) for path in clip.frames(1 + len(actor.targets))][1:]
        for posed, frame in zip(actor.targets, frames, strict=True):
            measured.add("clip", error_on_figure(frame, posed.drawn(who)))
        source, pictures = self._comic(write_single_story(actor, self.settings, self.work), [actor])
        self._sources[actor.name] = read_identity(source[0], actor.source.pose, self.world)
        own = [
            error_on_figure(picture, posed.drawn(self._sources[actor.name]))
            for posed, picture in zip(actor.targets, pictures, strict=True)
        ]
        self._errors[actor.name] = own
        for error in own:
            measured.add("panel", error)
        return [Panel("source", source[0]), *(Panel(actor.name, picture) for picture in pictures[:_ON_SHEET])]

    def together(self, pair: tuple[Actor, Actor], measured: Measured) -> list[Panel]:
        """Two characters side by side in panels; returns a row for the sheet."""
        count = min(_PAIR_PANELS, len(pair[0].targets))
        sources, pictures = self._comic(write_pair_story(pair, count, self.settings, self.work), pair)
        row = [Panel(actor.name, source) for actor, source in zip(pair, sources, strict=True)]
        for number, picture in enumerate(pictures):
            halves = [picture[:, : self.size_px], picture[:, self.size_px :]]
            for actor, other, half in zip(pair, reversed(pair), halves, strict=True):
                posed, own = actor.targets[number], self._sources[actor.name]
                measured.add("together", error_on_figure(half, posed.drawn(own)))
                measured.add("alone", self._errors[actor.name][number])
                measured.add("swapped", is_swapped(half, posed, own, self._sources[other.name]))
                row.append(Panel(f"{actor.name} of panel {number + 1}", half))
        return row

    def _comic(self, story: Path, cast: Sequence[Actor]) -> tuple[list[Picture], list[Picture]]:
        """Sources of the characters, and the panels."""
        changes = {"cache_dir": self.work / "cache"}
        read = read_story(story)
        made = render_comic(read, story, story.with_suffix(".png"), changes=changes, model=self.bare)
        sources = [read_png(made.source(actor.name)) for actor in cast]
        return sources, [read_png(made.panel(number)) for number in range(1, len(read.panels) + 1)]

    def _resolved(self, changes: Mapping[str, Any]) -> Any:
        return resolve(read_preset("demo"), {**self.settings, "cache_dir": self.work / "cache", **changes})
