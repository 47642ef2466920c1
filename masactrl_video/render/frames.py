"""Rendering frames against a recorded source: chunk by chunk, step by step, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.neighbour import neighbours_of
from masactrl_video.attention.parts import SourcePart, Weight
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.attention.recorded import MadeAgain, RecordedSource
from masactrl_video.attention.session import AttentionControl
from masactrl_video.attention.use import control_attention
from masactrl_video.cache.feed import reading_ahead
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.model.backbones.branches import Branch
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.sampling.colours import HeldColours
from masactrl_video.model.sampling.denoise import Alter, Denoising, FrameBatch
from masactrl_video.model.sampling.invert import Trajectory
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.poses.carried import read_places
from masactrl_video.poses.warp import Skeleton, Skeletons
from masactrl_video.render.grounds import ClipGround, StillGround
from masactrl_video.render.still_frame import StillFrame
from masactrl_video.settings.names import Background, Ground, NoiseKind
from masactrl_video.sources.timeline import Timeline
from masactrl_video.video.frame import Pictures


@dataclass(frozen=True)
class Beside:
    """Pictures that some settings want for every frame, beside the guidance; the names are those of a `RenderPlan`."""

    target_masks: Pictures | None = None
    """Given masks of the frames, white where the object is, instead of masks by words."""
    clip: Pictures | None = None
    """The clip's own frames, whose ground is attended to."""
    whose: Pictures | None = None
    """With a cast, the parts of people: red is 0, or the place from 1 of the part whose person a pixel is."""
    places: Pictures | None = None
    """Noise that follows bodies: where each point of it lies in the source's (see `poses.carried`)."""

    def there(self) -> list[Pictures]:
        """Those that there are, in this order."""
        return [given for field in fields(self) if (given := getattr(self, field.name)) is not None]


@dataclass(frozen=True)
class FramesJob:
    """Everything that rendering a frame needs besides its number."""

    denoising: Denoising
    scheduler: Schedule
    source: RecordedSource
    source_noise: torch.Tensor
    """(1, channels, height, width): z_T of the source."""
    plan: ControlPlan
    guidance: Sequence[Pictures]
    """One for each network of the model."""
    masks: MaskRule | None = None
    beside: Beside = Beside()
    noise: NoiseKind = "shared"
    parts: Sequence[SourcePart] = ()
    """Several sources, and what part each has in the frames; then `source` is not asked."""
    timeline: Timeline | None = None
    """Which of the sources in `parts` a frame follows; None: all of them."""
    colours: HeldColours | None = None
    """None: frames have the colours that come."""
    ground: Ground = "self"
    """In the mode `regions`: what the rest of the picture attends to."""
    skeletons: Skeletons | None = None
    """Of the sources and of all frames of the clip, where the plan's positions are `pose`."""
    background: Background = "source"
    """With masks of an object: what the rest of the picture attends to, or is."""
    clip_ground: ClipGround | None = None
    """For the background `clip`."""
    still_ground: StillGround | None = None
    """For the background `still`."""
    neighbour: float = 0.0
    """Above 0, a frame also attends to the one before, with this weight: then a chunk is rendered as a whole."""

    @property
    def height_px(self) -> int:
        """Of every frame."""
        return self.source_noise.shape[-2] * self.denoising.model.vae_scale_factor

    @property
    def width_px(self) -> int:
        """Of every frame."""
        return self.source_noise.shape[-1] * self.denoising.model.vae_scale_factor

    @property
    def given(self) -> list[Pictures]:
        """All pictures that it reads, in the order of `RenderPlan.given`."""
        return [*self.guidance, *self.beside.there()]

    def noise_of(self, frames: Sequence[int]) -> torch.Tensor:
        """Initial noise (frames, channels, height, width), standard normal; the source's for all unless per frame."""
        if self.beside.places is not None:
            size = self.source_noise.shape[2:]
            places = [read_places(np.asarray(self.beside.places[frame]), (size[0], size[1])) for frame in frames]
            moved = [self.source_noise.flatten(2)[..., torch.from_numpy(place)] for place in places]
            return torch.cat(moved).reshape(-1, *self.source_noise.shape[1:])
        if self.noise == "shared":
            return self.source_noise.expand(len(frames), -1, -1, -1)
        size_px, model = (self.height_px, self.width_px), self.denoising.model
        return torch.cat([initial_noise(model, size_px, self.denoising.seed + 1 + frame) for frame in frames])

    def batch(self, frames: Sequence[int]) -> FrameBatch:
        """Frames at the beginning of their denoising."""
        pictures = [np.stack([kind[frame] for frame in frames]) for kind in self.guidance]
        guidance = self.denoising.model.prepare_controls(pictures) if pictures else None
        return FrameBatch.from_noise(self.noise_of(frames), guidance, self.scheduler, self.plan.acting_steps)

    def given_masks(self, frames: Sequence[int]) -> torch.Tensor | None:
        """Given masks of a batch, (frames, height, width) bool."""
        if self.beside.target_masks is None:
            return None
        stacked = np.stack([self.beside.target_masks[frame] for frame in frames])
        return torch.from_numpy(stacked[..., 0] > 127).to(self.denoising.model.device)

    def people_in(self, frames: Sequence[int]) -> torch.Tensor | None:
        """Whose each pixel of a batch is, (frames, height, width) uint8."""
        if self.beside.whose is None:
            return None
        stacked = np.stack([self.beside.whose[frame] for frame in frames])
        return torch.from_numpy(stacked[..., 0].copy()).to(self.denoising.model.device)

    def inverted_clip(self, frames: Sequence[int]) -> Trajectory | None:
        """Latents of the clip's own frames at every noise level, where their ground is attended to."""
        if self.clip_ground is None:
            return None
        return self.clip_ground.inverted(self.denoising.model, self.scheduler, frames)

    @property
    def skips(self) -> bool:
        """Whether tokens of frames are not computed; then each frame is a batch of its own (see `apart`)."""
        return self.still_ground is not None and self.still_ground.skips

    def apart(self, batches: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
        """The batches as they are denoised: frame by frame, where each computes other tokens."""
        return [[frame] for frames in batches for frame in frames] if self.skips else batches

    def still_on(self, control: AttentionControl, frames: Sequence[int]) -> StillGround | StillFrame | None:
        """What takes a batch before a still ground through its steps; None: there is none."""
        if self.still_ground is None or not self.still_ground.skips:
            return self.still_ground
        if len(frames) != 1:
            raise RuntimeError("background still: each frame computes tokens of its own; see FramesJob.apart")
        return StillFrame(self.still_ground, self.denoising.model, control, self.scheduler)

    def weights_of(self, frames: Sequence[int]) -> list[Weight]:
        """How much each frame of a batch follows each source."""
        if self.timeline is None:
            return [part.weight for part in self.parts] or [1.0]
        rows = [self.timeline.weights(frame) for frame in frames]
        if len(set(rows)) == 1:
            return list(rows[0])
        return [torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True)]

    def skeletons_of(self, frames: Sequence[int]) -> Sequence[Skeleton]:
        """Of a batch; none where keys do not move."""
        return () if self.skeletons is None else [self.skeletons.frames[frame] for frame in frames]

    def holding_colours(self, control: AttentionControl, batch: FrameBatch, frames: Sequence[int]) -> Alter | None:
        """What aligns the colours of a batch, each frame by itself."""
        if self.colours is None:
            return None
        timeline = self.timeline or Timeline()
        weights = [timeline.weights(frame) for frame in frames]
        in_windows = self.still_ground is not None and not self.still_ground.skips
        figure = (lambda: batch.figure) if in_windows else control.figures.target_figure
        return self.colours.aligning(self.scheduler, weights, figure)

    def in_float32(self) -> FramesJob:
        """The same frames from the same noise under the same prompt; for a model that computes in float32 meanwhile."""
        text = self.denoising.text.in_float32()
        return replace(
            self,
            denoising=replace(self.denoising, text=text),
            source_noise=self.source_noise.to(torch.float32),
            clip_ground=self.clip_ground and replace(self.clip_ground, text=self.clip_ground.text.in_float32()),
            parts=[
                part if part.text is None else replace(part, text=part.text.to(torch.float32)) for part in self.parts
            ],
        )

    def branches_at(self, step: int) -> Sequence[Branch]:
        """The rows of the UNet's calls at a denoising step."""
        return self.denoising.text_at(step, self.scheduler.timesteps).names

    @contextmanager
    def controlled(self) -> Iterator[AttentionControl]:
        """Context in which the UNet follows the plan; it yields the `AttentionControl`."""
        model, text = self.denoising.model, self.denoising.text
        with (
            model.backbone.prompts_once(model, (text, self.denoising.conditional_text)),
            control_attention(
                model.denoiser,
                self.parts or self.source,
                self.plan,
                branches=text.names,
                masks=self.masks,
                ground=self.ground,
                clock=model.clock,
                background=self.background,
                neighbour=self.neighbour,
                may_skip=self.skips,
            ) as control,
        ):
            control.limbs.sources = () if self.skeletons is None else self.skeletons.sources
            yield control


@contextmanager
def fed(job: FramesJob, chunks: int, memory_bytes: int = 0) -> Iterator[FramesJob]:
    """The job with its sources read one step ahead, for so many chunks of frames.

    Args:
        memory_bytes: a source that fits into so many is held in memory for the later chunks; of several, each has its
            equal part of them.
    """
    order = job.plan.acting_steps * chunks
    with ExitStack() as stack:

        def feed(source: RecordedSource, memory_bytes: int) -> RecordedSource:
            if not isinstance(source, CachedSource) or isinstance(source, MadeAgain):
                return source
            return stack.enter_context(reading_ahead(source, order, memory_bytes))

        each = memory_bytes // max(1, len(job.parts))
        parts = [replace(part, source=feed(part.source, each)) for part in job.parts]
        yield replace(job, source=job.source if parts else feed(job.source, memory_bytes), parts=parts)


def denoise_chunk(
    job: FramesJob,
    control: AttentionControl,
    batches: Sequence[Sequence[int]],
    on_step: Callable[[int, Sequence[int]], None] = lambda step, frames: None,
) -> list[torch.Tensor]:
    """Denoise several batches side by side, so that each step of the source is read once for all of them.

    Args:
        batches: frame numbers of each batch.
        on_step: called with the step's index and the batch's frames after every UNet call.

    Returns:
        Latents (frames, channels, height, width) of each batch.
    """
    started = [job.batch(frames) for frames in batches]
    masks, people = ([of(frames) for frames in batches] for of in (job.given_masks, job.people_in))
    with control.looking():
        clips = [job.inverted_clip(frames) for frames in batches]
    stills = [job.still_on(control, frames) for frames in batches]
    for frames, batch, still in zip(batches, started, stills, strict=True):
        batch.alter = job.holding_colours(control, batch, frames)
        if isinstance(still, StillFrame) and batch.alter is not None:
            batch.alter = still.whole_for(batch.alter)
    weights, neighbours = [job.weights_of(frames) for frames in batches], neighbours_of(batches)
    for step in range(len(job.scheduler.timesteps)):
        control.prepare(step, weights)
        all_of_them = zip(batches, started, masks, clips, people, strict=True)
        for number, (frames, batch, mask, clip, whose) in enumerate(all_of_them):
            control.has_neighbour = neighbours[number]
            control.keeps_last = any(row[0] for row in neighbours[number + 1 : number + 2])
            control.figures.target_mask, control.figures.whose, control.weights = mask, whose, job.weights_of(frames)
            control.limbs.frames = job.skeletons_of(frames)
            control.use_branches(job.branches_at(step))
            if clip is not None and job.clip_ground is not None and job.plan.layers_at(step):
                with control.looking():
                    job.clip_ground.look(job.denoising.model, job.scheduler, clip, step)
            if (still := stills[number]) is None:
                job.denoising.step(batch, step)
                on_step(step, frames)
            else:
                for rows in still.step(job.denoising, control, batch, step):
                    on_step(step, [frames[row] for row in rows])
    return [batch.latents for batch in started]
