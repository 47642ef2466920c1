"""Mutual self-attention: inside the context the denoiser's calls query the recorded source (MasaCtrl, Sec. 4.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch

from masactrl_video.attention.fired import check_all_called
from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.parts import SourcePart
from masactrl_video.attention.plan import ControlPlan, plan_control
from masactrl_video.attention.record import KeepObjectMap
from masactrl_video.attention.recorded import RecordedSource
from masactrl_video.attention.region_text import ReadByRegion, RegionPrompt
from masactrl_video.attention.session import AttentionControl
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer, TextAttention
from masactrl_video.model.backbones.branches import GUIDED, Branch
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.model.backbones.steps import DenoiserCall, StepClock
from masactrl_video.poses.warp import Skeletons
from masactrl_video.settings.modes import check_mode, check_neighbour_mode, needs_of
from masactrl_video.settings.names import Background, Ground, SourcePositions


@contextmanager
def control_attention(
    denoiser: torch.nn.Module,
    source: RecordedSource | Sequence[SourcePart],
    plan: ControlPlan,
    *,
    branches: Sequence[Branch] = GUIDED,
    masks: MaskRule | None = None,
    ground: Ground = "self",
    clock: StepClock | None = None,
    background: Background = "source",
    neighbour: float = 0.0,
    may_skip: bool = False,
) -> Iterator[AttentionControl]:
    """Inside the context, the denoiser's calls follow `plan`; on leaving, it is as before.

    The step of a call is what `clock` says; where that is silent, it is found by the call's timestep, so that any
    sampling loop works, a diffusers pipeline's too. When the context ends without an exception, the controlled
    attention calls are compared with the plan.

    Args:
        source: the only one, or several with the part that each has in the target.
        branches: order of the rows in each call (see `branches.GUIDED`).
        masks: needed by modes that ask where the object is, but for `regions`, where its threshold alone counts; its
            mask of the source is the only one's (see `SourcePart.mask`).
        ground: with regions, what queries outside all of them attend to: their own frame, or the first's ground.
        clock: of the loop that makes the calls (`DiffusionModel.clock`).
        background: with masks of an object, what queries outside of it attend to. For `clip`, each controlled call
            comes after one on the clip's own frames (see `AttentionControl.looking`).
        neighbour: above 0, frames that have another before them also attend to that one, with this weight; it must be
            said for each batch which do (`AttentionControl.has_neighbour`, `keeps_last`).
        may_skip: calls may compute some of a frame's tokens (see `AttentionControl.computing`); then the sources are
            recorded in all layers.

    Raises:
        UserError: steps, layers or branches that a source does not have, what the plan's mode needs is missing, or a
            cache that leaves out calls is enabled on the denoiser.
        RuntimeError: on leaving, when a layer was not controlled where it had to be.
    """
    check_all_called(denoiser)
    needs = needs_of(plan.mode)
    by_object = "masks" in needs and "regions" not in needs
    if neighbour:
        check_neighbour_mode(plan.mode)
    if by_object and masks is None:
        raise UserError(f"{plan.mode} mode: give the words of the object, or masks")
    if not isinstance(source, Sequence):
        source = [SourcePart(source, mask=masks.source_mask if masks is not None else None)]
    backbone = backbone_of(denoiser)
    control = AttentionControl(
        source,
        plan,
        branches,
        masks,
        ground,
        clock,
        background,
        calls_each_branch=backbone.calls_each_branch,
        prompt_first=backbone.prompt_comes_first,
        neighbour=neighbour,
    )
    layers = backbone.layers(denoiser)
    if may_skip:
        _check_all_recorded(source, layers)
    to_picture = {layer.name: control.attend for layer in (layers if may_skip else plan.layers)}
    to_text = _reading(layers, control)
    for keep in _kept_maps(control, masks if by_object else None):
        for layer in plan.mask_layers:
            to_text.setdefault(layer.name, []).append(keep)
    with backbone.attending(denoiser, to_picture, to_text), backbone.calls(denoiser, control.begin):
        yield control
    control.check_fired()


def _kept_maps(control: AttentionControl, masks: MaskRule | None) -> Iterator[KeepObjectMap]:
    """What keeps the maps of words: of each source's region, and of the object and what it wears.

    Args:
        masks: where the frames' object is asked for.
    """
    figures = control.figures
    for part, kept in zip(control.parts, figures.region_maps, strict=True):
        if part.target_tokens:
            yield KeepObjectMap(part.target_tokens, control.branches, control.map_size, kept, part.text)
    groups = () if masks is None else (masks.target_tokens, *masks.attributes)
    for group, (words, kept) in enumerate(zip(groups, figures.maps if groups else (), strict=True)):
        if words:
            whole = partial(figures.whole_map, group)
            yield KeepObjectMap(words, control.branches, control.map_size, kept, whole=whole)


def _check_all_recorded(parts: Sequence[SourcePart], layers: Sequence[AttentionLayer]) -> None:
    """See that sources have keys and values for tokens that are not computed."""
    for part in parts:
        if missing := [layer.name for layer in layers if layer.name not in part.source.layers]:
            raise UserError(
                f"background still: the source was recorded without layer {missing[0]}, and what is not computed needs "
                "them all; record it anew"
            )


def _reading(layers: Sequence[AttentionLayer], control: AttentionControl) -> dict[str, list[TextAttention]]:
    """What is added to the text's layers where regions have prompts of their own, at every step."""
    prompts: list[RegionPrompt] = []
    for number, part in enumerate(control.parts):
        if part.text is not None and part.person:
            prompts.append((partial(control.figures.person_on, number), part.text))
        elif part.text is not None and part.region is not None:
            prompts.append((part.region, part.text))
    if not prompts:
        return {}
    reading = ReadByRegion(control.branches, lambda: control.latent_size, prompts)
    return {layer.name: [reading] for layer in layers}


@contextmanager
def use_source(
    unet: torch.nn.Module,
    source: RecordedSource,
    *,
    masa_step: int = 4,
    masa_layer: int = 10,
    masa_steps: Sequence[int] | None = None,
    masa_layers: Sequence[str] | None = None,
    mode: str = "source",
    branches: Sequence[Branch] | None = None,
    masks: MaskRule | None = None,
    mask_grid_divisor: int = 4,
    positions: SourcePositions = "as-is",
    skeletons: Skeletons | None = None,
) -> Iterator[AttentionControl]:
    """Make every UNet call inside the context use the recorded source (the short form of `control_attention`).

    See `plan_control` for the arguments that say where, and `record_source` for an example.

    Args:
        skeletons: with positions `pose`: of the source, and of each picture of a call.

    Raises:
        UserError: steps, layers or branches that the UNet or the source does not have, or no step or layer at all.
        RuntimeError: on leaving, when a layer was not controlled where it had to be, or the source was never used.
    """
    check_mode(mode)
    if not source.timesteps:
        raise UserError(
            "the source holds no step: nothing was denoised inside record_source; call the pipeline in its context, "
            "and use the source behind it"
        )
    plan = plan_control(
        unet,
        len(source.timesteps),
        masa_step=masa_step,
        masa_layer=masa_layer,
        masa_steps=masa_steps,
        masa_layers=masa_layers,
        mode=mode,
        positions=positions,
        mask_grid_divisor=mask_grid_divisor if masks is not None and masks.target_tokens else None,
    )
    plan.check_acts(len(source.timesteps))
    branches = backbone_of(unet).own_branches(unet) if branches is None else branches
    with (
        control_attention(unet, source, plan, branches=branches, masks=masks) as control,
        _one_call_a_step(unet, source, branches),
    ):
        if skeletons is not None:
            control.limbs.sources, control.limbs.frames = skeletons.sources, skeletons.frames
        yield control
    if not control.count.calls:
        raise RuntimeError("this denoiser was never called under mutual self-attention; was another pipeline used?")
    if not control.count.fired:
        raise RuntimeError(
            "the source was never used: the denoiser was called at steps "
            f"{', '.join(map(str, sorted(control.count.calls)))} of {len(source.timesteps)}, but is controlled at "
            f"{', '.join(map(str, plan.acting_steps))}; see masa_step"
        )


@contextmanager
def _one_call_a_step(denoiser: torch.nn.Module, source: RecordedSource, branches: Sequence[Branch]) -> Iterator[None]:
    """Refuse the second of two calls at one timestep, where a pipeline by default makes one of one branch.

    It would be that of a negative prompt, and get the keys and values of the prompt.
    """
    backbone, last = backbone_of(denoiser), [-1.0]

    def begin(call: DenoiserCall) -> None:
        if last == [call.timestep]:
            raise UserError(
                f"two calls at timestep {call.timestep:g}: real guidance (true_cfg_scale), which has to be told: give "
                "record_source and use_source branches=GUIDED, or leave the negative prompt out"
            )
        last[:] = [call.timestep]

    is_told = not backbone.calls_each_branch or len(branches) > 1
    if is_told or tuple(backbone.own_branches(denoiser)) == GUIDED or len(source.timesteps) == 1:
        yield
        return
    with backbone.calls(denoiser, begin):
        yield
