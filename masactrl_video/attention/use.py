"""Mutual self-attention: inside the context the denoiser's calls query the recorded source (MasaCtrl, Sec. 4.1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.plan import ControlPlan, plan_control
from masactrl_video.attention.record import KeepObjectMap
from masactrl_video.attention.recorded import RecordedSource
from masactrl_video.attention.session import AttentionControl
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer, TextAttention
from masactrl_video.model.backbones.branches import GUIDED, Branch
from masactrl_video.model.backbones.qkv import QKV
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.model.backbones.steps import StepClock
from masactrl_video.settings.names import Mode


@contextmanager
def control_attention(
    denoiser: torch.nn.Module,
    source: RecordedSource,
    plan: ControlPlan,
    *,
    branches: Sequence[Branch] = GUIDED,
    masks: MaskRule | None = None,
    clock: StepClock | None = None,
) -> Iterator[AttentionControl]:
    """Inside the context, the denoiser's calls follow `plan`; on leaving, it is as before.

    The step of a call is what `clock` says; where that is silent, it is found by the call's timestep, so that any
    sampling loop works, a diffusers pipeline's too. When the context ends without an exception, the controlled
    attention calls are compared with the plan.

    Args:
        branches: order of the rows in each call (see `branches.GUIDED`).
        masks: needed in the masked mode.
        clock: of the loop that makes the calls (`DiffusionModel.clock`).
    """
    if plan.mode == "masked" and masks is None:
        raise UserError("masked mode: give the words of the object, or masks")
    control = AttentionControl(source, plan, branches, masks, clock)
    to_text: dict[str, Sequence[TextAttention]] = {}
    if plan.mode == "masked" and masks is not None and masks.target_tokens:
        keep = KeepObjectMap(masks.target_tokens, control.branches, control.map_size, control.keep_maps_in())
        to_text = {layer.name: [keep] for layer in plan.mask_layers}
    with steered(denoiser, control, to_text):
        yield control


@contextmanager
def steered(
    denoiser: torch.nn.Module, control: AttentionControl, to_text: Mapping[str, Sequence[TextAttention]]
) -> Iterator[None]:
    """Inside the context, `control` attends in place of the planned layers, and is checked at the end.

    Args:
        to_text: by layer, what gives the control its object maps.
    """

    def to_picture(layer: AttentionLayer, qkv: QKV) -> torch.Tensor | None:
        return None if control.record is None else control.attend(layer, qkv)

    backbone = backbone_of(denoiser)
    with (
        backbone.attending(denoiser, {layer.name: to_picture for layer in control.plan.layers}, to_text),
        backbone.calls(denoiser, control.begin),
    ):
        yield
    control.check_fired()


@contextmanager
def use_source(
    unet: torch.nn.Module,
    source: RecordedSource,
    *,
    masa_step: int = 4,
    masa_layer: int = 10,
    masa_steps: Sequence[int] | None = None,
    masa_layers: Sequence[str] | None = None,
    mode: Mode = "source",
    branches: Sequence[Branch] = GUIDED,
    masks: MaskRule | None = None,
    mask_grid_divisor: int = 4,
) -> Iterator[AttentionControl]:
    """Make every UNet call inside the context use the recorded source (the short form of `control_attention`).

    See `plan_control` for the arguments that say where, and `record_source` for an example.

    Raises:
        UserError: steps, layers or branches that the UNet or the source does not have, or no step or layer at all.
        RuntimeError: on leaving, when a layer was not controlled where it had to be, or the source was never used.
    """
    plan = plan_control(
        unet,
        len(source.timesteps),
        masa_step=masa_step,
        masa_layer=masa_layer,
        masa_steps=masa_steps,
        masa_layers=masa_layers,
        mode=mode,
        mask_grid_divisor=mask_grid_divisor if masks is not None and masks.target_tokens else None,
    )
    plan.check_acts(len(source.timesteps))
    with control_attention(unet, source, plan, branches=branches, masks=masks) as control:
        yield control
    if not control.calls:
        raise RuntimeError("this UNet was never called under mutual self-attention; was another pipeline used?")
    if not control.fired:
        raise RuntimeError(
            f"the source was never used: the UNet was called at steps {', '.join(map(str, sorted(control.calls)))} of "
            f"{len(source.timesteps)}, but is controlled at {', '.join(map(str, plan.acting_steps))}; see masa_step"
        )
