"""Measured values as a table with targets, and as data."""

from dataclasses import dataclass

import numpy as np

from masactrl_video.demo.world.identity import NAMED
from masactrl_video.errors import counted
from masactrl_video.evaluate.figures import UNNAMED
from masactrl_video.evaluate.leakage import LEAKS
from masactrl_video.evaluate.measure import Measured


@dataclass(frozen=True)
class Figure:
    """One figure and what was asked of it."""

    name: str
    value: float
    unit: str
    target: float
    at_least: bool

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.value >= self.target if self.at_least else self.value <= self.target

    def row(self) -> str:
        """A row of a Markdown table."""
        sign = "≥" if self.at_least else "≤"
        return (
            f"| {self.name} | {self.value:.2f}{self.unit} | {sign} {self.target:g}{self.unit} | "
            f"{'yes' if self.met else 'no'} |"
        )


def figures(measured: Measured) -> list[Figure]:
    """The figures that a model of the cartoon world is judged by."""

    values = measured.values

    def percent(name: str, key: str, target: float) -> Figure:
        return Figure(name, 100 * measured.mean(key), " %", target, True)

    def ratio(name: str, above: str, below: str) -> Figure:
        return Figure(name, measured.mean(above) / measured.mean(below), "", 0.5, False)

    return [
        Figure("autoencoder's reconstruction", measured.mean("autoencoder"), " dB", 28, True),
        percent("keypoints found, ControlNet", "keypoints with", 90),
        *([percent("keypoints found, T2I-Adapter", "keypoints adapter", 90)] if "keypoints adapter" in values else []),
        *(percent(f"caption followed: {name}", f"caption: {name}", 85) for name in NAMED),
        ratio("identity: error with the source ÷ without", "error with", "error without"),
        *(percent(f"kept with the source: {name}", f"kept with: {name}", 80) for name in UNNAMED),
        Figure("masks' overlap with the silhouette", measured.mean("masks"), "", 0.6, True),
        _leakage(measured),
        Figure("inversion's reconstruction", measured.mean("inversion"), " dB", 26, True),
        ratio("identity of a real source: error with ÷ without", "error with real source", "error without real source"),
    ]


def _leakage(measured: Measured) -> Figure:
    """Masked ÷ not masked, where it is a lot without masks; in all frames where it is nowhere a lot."""
    plain, masked = (np.array(measured.values[f"leakage {name}"]) for name in ("with", "masked"))
    leaky = plain >= LEAKS
    some = leaky if leaky.any() else ~leaky
    name = f"leakage, masked ÷ not masked, in {leaky.sum()} of {counted(len(leaky), 'frame')} that leak"
    return Figure(name, float(masked[some].mean() / plain[some].mean()), "", 0.5, False)


def _ground(measured: Measured) -> str:
    """The whole error on the ground, in which that of drawing outweighs what leaks."""
    plain, masked = measured.mean("ground with"), measured.mean("ground masked")
    return (
        f"Error on the ground where the character has its colours, levels of 255: {plain:.1f} without masks, "
        f"{masked:.1f} with them; {masked / plain:.2f} of it."
    )


def _details(measured: Measured) -> list[str]:
    """How often unnamed details are the source's: without it, by chance."""
    lines = ["| details as in the source | " + " | ".join(UNNAMED) + " |", "| --- |" + " --- |" * len(UNNAMED)]
    for label, key in (
        ("source made by the model", "with"),
        ("the same frames without it (fixed seed only)", "without"),
        ("given picture as the source", "with real source"),
        ("the same frames without it", "without real source"),
    ):
        kept = (f"{100 * measured.mean(f'kept {key}: {name}'):.0f} %" for name in UNNAMED)
        lines.append(f"| {label} | " + " | ".join(kept) + " |")
    return lines


def _identity_alone(measured: Measured) -> list[str]:
    """The error on the figure in two parts: of drawing whoever it is, and of its not being the source's character."""
    columns = ("error on the figure, levels of 255", "to the exact frame", "drawing: to who is seen", "rest: identity")
    lines = ["| " + " | ".join(columns) + " |", "| --- |" + " --- |" * (len(columns) - 1)]
    for label, suffix in (("source made by the model", ""), ("given picture as the source", " real source")):
        rest = {}
        for way in ("with", "without"):
            error, drawing = (measured.mean(f"{kind} {way}{suffix}") for kind in ("error", "drawing"))
            rest[way] = error - drawing
            lines.append(f"| {label}, {way} | {error:.1f} | {drawing:.1f} | {rest[way]:.1f} |")
        lines.append(f"| with ÷ without | | | {rest['with'] / rest['without']:.2f} |")
    return lines


def as_markdown(measured: Measured, heading: str) -> str:
    """The figures, what is behind those of identity, and the curves over S and L."""
    lines = [heading, "", "| figure | value | target | met |", "| --- | --- | --- | --- |"]
    lines += [figure.row() for figure in figures(measured)]
    lines += ["", *_details(measured), "", *_identity_alone(measured), "", _ground(measured), ""]
    settings = [name.removeprefix("error at ") for name in measured.values if name.startswith("error at ")]
    if settings:
        columns = ("control", "error on the figure, levels of 255", "÷ without", "details kept", "keypoints found")
        lines += ["| " + " | ".join(columns) + " |", "| --- |" + " --- |" * (len(columns) - 1)]
        for name in settings:
            error, kept, found = (measured.mean(f"{figure} at {name}") for figure in ("error", "kept", "keypoints"))
            ratio = error / measured.mean("error without")
            lines.append(f"| {name} | {error:.1f} | {ratio:.2f} | {100 * kept:.0f} % | {100 * found:.0f} % |")
    return "\n".join(lines) + "\n"
