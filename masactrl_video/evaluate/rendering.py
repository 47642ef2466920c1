"""A case through the same source, cache and attention code as a clip, once for each variant of the method."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.plan import ControlPlan, plan_control
from masactrl_video.attention.recorded import SHARED
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.evaluate.cases import Case, Posed
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.controls import PreparedControls
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt, find_words
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.latents import decode_latents, encode_picture, initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.poses.warp import Skeleton, Skeletons
from masactrl_video.render.frames import FramesJob, denoise_chunk
from masactrl_video.render.grounds import StillGround
from masactrl_video.settings.modes import needs_of
from masactrl_video.settings.names import MaskCells, Rim, SourcePositions
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.record import ObjectWords, cached_source
from masactrl_video.sources.source import GeneratedSource, RealSource, unique_branches

Pictures = NDArray[np.uint8]
"""RGB (pictures, height, width, 3)."""


@dataclass(frozen=True)
class Variant:
    """One way to render: where the source acts, and how."""

    masa_step: int
    masa_layer: int
    mode: str = "source"
    chosen_layers: tuple[int, ...] | None = None
    """Only these layers are controlled; all from the first one on if not given."""
    positions: SourcePositions = "as-is"
    """Where the source's keys stand, in models whose keys have places."""
    rim: Rim = 0
    """Of the masks, see `MaskRule`."""
    cells: MaskCells | None = None
    """Which cells of coarse layers are the object's, see `MaskRule`; None: as the settings say."""
    background: Literal["source", "own", "still"] = "source"
    """What the ground attends to, with masks."""


@dataclass(frozen=True)
class Rendered:
    """The pictures of one case."""

    source: NDArray[np.uint8]
    """As the model made or reconstructed it. RGB (height, width, 3)"""
    targets: dict[Variant, Pictures]
    source_maps: NDArray[np.float32]
    """Object map of each recorded step. (steps, rows, columns) in [0, 1]"""
    target_maps: NDArray[np.float32] | None
    """Object maps of the masked variant's last step. (targets, rows, columns) in [0, 1]"""


@dataclass(frozen=True)
class Way:
    """How cases are rendered with a model: the settings of a preset that matter here."""

    model: DiffusionModel
    settings: Settings

    def render(
        self, case: Case, variants: Sequence[Variant], *, real: bool = False, own_noise: bool = False
    ) -> Rendered:
        """Make the source and the targets of a case.

        Args:
            real: invert the exact picture of the character as the source, instead of making one from its caption.
            own_noise: targets start from noise of the case's seed, so that attention alone knows of an inverted source.
        """
        steps = self.settings.num_inference_steps
        scheduler = make_scheduler(self.model, self.settings.scheduler, steps)
        whole = self._plan(Variant(0, 0, "source"))
        source, branches, words = self._source(case, scheduler, real)
        with TemporaryDirectory() as cache:
            levels = any(variant.background == "still" for variant in variants)
            recorded = cached_source(Path(cache), self.model, source, branches, whole, words, levels=levels)
            targets: dict[Variant, Pictures] = {}
            target_maps = None
            for variant in variants:
                targets[variant], maps = self._targets(case, variant, recorded, scheduler, own_noise)
                target_maps = target_maps if maps is None else maps
            source_maps = np.stack([_map_of(recorded, step) for step in recorded.steps])
            picture = decode_latents(self.model, recorded.latents)[0]
        return Rendered(picture, targets, source_maps, target_maps)

    def _source(
        self, case: Case, scheduler: Schedule, real: bool
    ) -> tuple[GeneratedSource | RealSource, Sequence[str], ObjectWords]:
        prompt, words = case.prompt(case.source), _object_words(case)
        tokens = find_words(self.model.tokenizer, prompt, words)
        size_px = (case.source.size_px, case.source.size_px)
        if not real:
            text = self._text(prompt, size_px)
            denoising = Denoising(self.model, text, self.settings.guidance_scale, case.seed)
            noise = initial_noise(self.model, size_px, case.seed)
            return (
                GeneratedSource(denoising, scheduler, noise, self._guidance([case.source])),
                text.names,
                ObjectWords(tokens),
            )
        text = self._text("", size_px)
        text, branches = unique_branches(text, text.names, SHARED)
        picture = encode_picture(self.model, case.source.drawn(case.identity).image)
        caption = encode_prompt(self.model, prompt, "", 1.0, size_px)
        return RealSource(self.model, scheduler, picture, text), branches, ObjectWords(tokens, caption)

    def _targets(
        self, case: Case, variant: Variant, source: CachedSource, scheduler: Schedule, own_noise: bool
    ) -> tuple[Pictures, NDArray[np.float32] | None]:
        prompt = case.prompt(case.targets[0])
        size_px = (case.source.size_px, case.source.size_px)
        tokens = find_words(self.model.tokenizer, prompt, _object_words(case))
        masked = "masks" in needs_of(variant.mode)
        job = FramesJob(
            denoising=Denoising(self.model, self._text(prompt, size_px), self.settings.guidance_scale, case.seed),
            scheduler=scheduler,
            source=source,
            source_noise=initial_noise(self.model, size_px, case.seed) if own_noise else source.initial_noise,
            plan=self._plan(variant),
            guidance=[np.stack([posed.skeleton() for posed in case.targets])],
            masks=(
                MaskRule(
                    tokens,
                    self.settings.mask_threshold,
                    rim=variant.rim,
                    cells=variant.cells or self.settings.mask_cells,
                )
                if masked
                else None
            ),
            background=variant.background,
            skeletons=_skeletons(case) if variant.positions == "pose" else None,
            still_ground=(
                StillGround(source.levels[None])
                if variant.background == "still" and source.levels is not None
                else None
            ),
        )
        with job.controlled() as control:
            latents = denoise_chunk(job, control, [range(len(case.targets))])[0]
            maps = control.figures.target_object_map() if masked else None
        return decode_latents(self.model, latents), None if maps is None else maps.cpu().numpy()

    def _plan(self, variant: Variant) -> ControlPlan:
        return plan_control(
            self.model.denoiser,
            self.settings.num_inference_steps,
            masa_step=variant.masa_step,
            masa_layer=variant.masa_layer,
            masa_layers=None if variant.chosen_layers is None else [str(layer) for layer in variant.chosen_layers],
            mode=variant.mode,
            positions=variant.positions,
            mask_grid_divisor=self.settings.mask_grid_divisor,
        )

    def _text(self, prompt: str, size_px: tuple[int, int]) -> TextCondition:
        return encode_prompt(self.model, prompt, self.settings.negative_prompt, self.settings.guidance_scale, size_px)

    def _guidance(self, poses: Sequence[Posed]) -> PreparedControls:
        return self.model.prepare_controls([np.stack([posed.skeleton() for posed in poses])])


def _object_words(case: Case) -> list[str]:
    """The words of a caption that stand for the character."""
    return [case.identity.species, "shirt", "pants"]


def _skeletons(case: Case) -> Skeletons:
    return Skeletons((Skeleton.of(case.source.body()),), tuple(Skeleton.of(posed.body()) for posed in case.targets))


def _map_of(source: CachedSource, step: int) -> NDArray[np.float32]:
    found = source.read(step).object_map
    assert isinstance(found, torch.Tensor)
    return found.float().cpu().numpy()
