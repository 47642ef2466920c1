"""Measured values as a table with targets, and as data."""

from dataclasses import dataclass

from masactrl_video.evaluate.figures import NAMED, UNNAMED
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

    def percent(name: str, key: str, target: float) -> Figure:
        return Figure(name, 100 * measured.mean(key), " %", target, True)

    def ratio(name: str, above: str, below: str) -> Figure:
        return Figure(name, measured.mean(above) / measured.mean(below), "", 0.5, False)

    return [
        Figure("autoencoder's reconstruction", measured.mean("autoencoder"), " dB", 28, True),
        percent("keypoints found, ControlNet", "keypoints with", 90),
        percent("keypoints found, T2I-Adapter", "keypoints adapter", 90),
        *(percent(f"caption followed: {name}", f"caption: {name}", 85) for name in NAMED),
        ratio("identity: error with the source ÷ without", "error with", "error without"),
        *(percent(f"kept with the source: {name}", f"kept with: {name}", 80) for name in UNNAMED),
        Figure("masks' overlap with the silhouette", measured.mean("masks"), "", 0.6, True),
        ratio("leakage: error on the ground, masked ÷ not masked", "ground masked", "ground with"),
        Figure("inversion's reconstruction", measured.mean("inversion"), " dB", 26, True),
        ratio("identity of a real source: error with ÷ without", "real error with", "real error without"),
    ]


def as_markdown(measured: Measured, heading: str) -> str:
    """The figures, what unnamed details come to without the source, and the curves over S and L."""
    lines = [heading, "", "| figure | value | target | met |", "| --- | --- | --- | --- |"]
    lines += [figure.row() for figure in figures(measured)]
    lines += ["", "Without the source (fixed seed only), details stay the same by chance:"]
    lines += [
        ", ".join(f"{name} {100 * measured.mean(f'kept without: {name}'):.0f} %" for name in UNNAMED) + ".",
        "",
    ]
    settings = [name.removeprefix("error at ") for name in measured.values if name.startswith("error at ")]
    if settings:
        lines += ["| control | error on the figure, levels of 255 | keypoints found |", "| --- | --- | --- |"]
        for name in settings:
            error, found = measured.mean(f"error at {name}"), 100 * measured.mean(f"keypoints at {name}")
            lines.append(f"| {name} | {error:.1f} | {found:.0f} % |")
    return "\n".join(lines) + "\n"
