"""All figures of a model of the cartoon world: cases rendered, read and compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from masactrl_video.demo.world.identity import NAMED, Identity, World
from masactrl_video.demo.world.read import read_identity
from masactrl_video.evaluate.cases import Case, Posed
from masactrl_video.evaluate.curves import curve
from masactrl_video.evaluate.figures import (
    UNNAMED,
    error_off_figure,
    error_on_figure,
    keypoints_found,
    overlap,
    psnr,
    same,
)
from masactrl_video.evaluate.leakage import leakage
from masactrl_video.evaluate.rendering import Pictures, Rendered, Variant, Way
from masactrl_video.measure.moments import enlarged
from masactrl_video.model.sampling.latents import decode_latents, encode_picture
from masactrl_video.poses.detectors.base import PoseDetector


@dataclass
class Measured:
    """Values case by case; a figure is the mean of its values."""

    values: dict[str, list[float]] = field(default_factory=dict)
    rows: list[list[np.ndarray]] = field(default_factory=list)
    """Pictures of a case for the sheet: source, then exact, with, without for its first target."""

    def add(self, name: str, value: float) -> None:
        """One more value of a figure."""
        self.values.setdefault(name, []).append(float(value))

    def mean(self, name: str) -> float:
        """The figure."""
        return float(np.mean(self.values[name]))


def joined(cases: Sequence[Measured]) -> Measured:
    """The values of several cases, in their order."""
    whole = Measured()
    for case in cases:
        for name, values in case.values.items():
            whole.values.setdefault(name, []).extend(values)
        whole.rows.extend(case.rows)
    return whole


@dataclass(frozen=True)
class Evaluation:
    """What is measured, with what."""

    way: Way
    """By ControlNet."""
    adapter_way: Way | None
    """By T2I-Adapter; None where the model has none."""
    detector: PoseDetector
    world: World

    @property
    def with_source(self) -> Variant:
        """The preset's S and L."""
        settings = self.way.settings
        return Variant(settings.masa_step, settings.masa_layer, positions=settings.source_positions)

    @property
    def without(self) -> Variant:
        """Fixed seed only: no step is controlled."""
        return Variant(self.way.settings.num_inference_steps, 0)

    @property
    def masked(self) -> Variant:
        """Figure to figure, ground to ground."""
        return replace(self.with_source, mode="masked")

    def measure(self, case: Case, *, curves: bool = True) -> Measured:
        """Measure a case."""
        measured = Measured()
        self._autoencoder(case, measured)
        self._generated(case, measured, curve(self.way, self.with_source) if curves else {})
        self._leakage(case, measured)
        if self.adapter_way is not None:
            self._adapter(self.adapter_way, case, measured)
        self._real(case, measured)
        return measured

    def _autoencoder(self, case: Case, measured: Measured) -> None:
        exact = case.source.drawn(case.identity).image
        again = decode_latents(self.way.model, encode_picture(self.way.model, exact))[0]
        measured.add("autoencoder", psnr([again], [exact]))

    def _generated(self, case: Case, measured: Measured, along: Mapping[str, Variant]) -> None:
        plain = (self.with_source, self.without, self.masked)
        rendered = self.way.render(case, list(dict.fromkeys((*plain, *along.values()))))
        source = read_identity(rendered.source, case.source.pose, self.world)
        self._named(case, source, measured)
        self._kept(case, source, rendered, measured)
        self._masks(case, rendered, measured)
        for name, variant in along.items():
            self._control(name, case, source, rendered.targets[variant], measured)
        exact = case.targets[0].drawn(source).image
        measured.rows.append([rendered.source, exact, *(rendered.targets[variant][0] for variant in plain)])

    def _control(self, name: str, case: Case, source: Identity, pictures: Pictures, measured: Measured) -> None:
        """A point of the curves."""
        for posed, picture in zip(case.targets, pictures, strict=True):
            exact, seen = posed.drawn(source), read_identity(picture, posed.pose, self.world)
            measured.add(f"error at {name}", error_on_figure(picture, exact))
            measured.add(f"keypoints at {name}", keypoints_found(self.detector, picture, exact))
            for attribute in UNNAMED:
                measured.add(f"kept at {name}", same(attribute, seen, source))

    def _named(self, case: Case, source: Identity, measured: Measured) -> None:
        for attribute in NAMED:
            measured.add(f"caption: {attribute}", same(attribute, source, case.identity))

    def _kept(self, case: Case, source: Identity, rendered: Rendered, measured: Measured) -> None:
        """Identity against the exact frames of who is in the source."""
        for name, variant in (("with", self.with_source), ("without", self.without)):
            for posed, picture in zip(case.targets, rendered.targets[variant], strict=True):
                self._compare(name, posed, picture, source, measured)
                measured.add(f"keypoints {name}", keypoints_found(self.detector, picture, posed.drawn(source)))
        for posed, picture in zip(case.targets, rendered.targets[self.masked], strict=True):
            measured.add("error masked", error_on_figure(picture, posed.drawn(source)))

    def _compare(self, name: str, posed: Posed, picture: np.ndarray, source: Identity, measured: Measured) -> None:
        """Error against the source's character, and against whoever the picture shows: the error of drawing."""
        seen = read_identity(picture, posed.pose, self.world)
        measured.add(f"error {name}", error_on_figure(picture, posed.drawn(source)))
        measured.add(f"drawing {name}", error_on_figure(picture, posed.drawn(seen)))
        for attribute in UNNAMED:
            measured.add(f"kept {name}: {attribute}", same(attribute, seen, source))

    def _masks(self, case: Case, rendered: Rendered, measured: Measured) -> None:
        threshold = self.way.settings.mask_threshold
        silhouettes = [posed.drawn(case.identity).mask for posed in (case.source, *case.targets)]
        steps = range(self.with_source.masa_step, len(rendered.source_maps))
        for step in steps:
            measured.add(
                "masks",
                overlap(enlarged(rendered.source_maps[step], *silhouettes[0].shape) >= threshold, silhouettes[0]),
            )

    def _leakage(self, case: Case, measured: Measured) -> None:
        """What of the character gets into the ground, where both have the same colours."""
        rendered = self.way.render(case.in_ground_colours(), [self.with_source, self.masked])
        source = read_identity(rendered.source, case.source.pose, self.world)
        for name, variant in (("with", self.with_source), ("masked", self.masked)):
            for posed, picture in zip(case.targets, rendered.targets[variant], strict=True):
                measured.add(f"ground {name}", error_off_figure(picture, posed.drawn(source)))
        leaks = leakage(case, self.way, [self.with_source, self.masked])
        for name, variant in (("with", self.with_source), ("masked", self.masked)):
            for level in leaks[variant]:
                measured.add(f"leakage {name}", level)

    def _adapter(self, way: Way, case: Case, measured: Measured) -> None:
        variant = self.with_source
        rendered = way.render(case, [variant])
        for posed, picture in zip(case.targets, rendered.targets[variant], strict=True):
            measured.add("keypoints adapter", keypoints_found(self.detector, picture, posed.drawn(case.identity)))

    def _real(self, case: Case, measured: Measured) -> None:
        """The exact picture of the character as a real source."""
        rendered = self.way.render(case, [self.with_source, self.without], real=True)
        measured.add("inversion", psnr([rendered.source], [case.source.drawn(case.identity).image]))
        for name, variant in (("with real source", self.with_source), ("without real source", self.without)):
            for posed, picture in zip(case.targets, rendered.targets[variant], strict=True):
                self._compare(name, posed, picture, case.identity, measured)
