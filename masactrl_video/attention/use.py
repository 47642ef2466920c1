"""Mutual self-attention on a UNet: inside the context its calls query the recorded source (MasaCtrl, Sec. 4.1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.plan import ControlPlan, plan_control
from masactrl_video.attention.record import KeepObjectMap
from masactrl_video.attention.recorded import RecordedSource
from masactrl_video.attention.session import AttentionControl
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.branches import GUIDED, Branch
from masactrl_video.model.backbones.unet.calls import watch_calls
from masactrl_video.model.backbones.unet.layers import Layer
from masactrl_video.model.backbones.unet.processors import Processor, finished, installed
from masactrl_video.settings.names import Mode


class _MutualSelfAttention:
    """diffusers attention processor: the source's keys and values at controlled steps, the original otherwise."""

    def __init__(self, layer: Layer, original: Processor, control: AttentionControl) -> None:
        self.layer, self.original, self.control = layer, original, control

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.control.record is None:
            plain: torch.Tensor = self.original(attn, hidden_states, *args, **kwargs)
            return plain
        return finished(attn, self.control.attend(self.layer, attn, hidden_states), hidden_states)


@contextmanager
def control_attention(
    unet: UNet2DConditionModel,
    source: RecordedSource,
    plan: ControlPlan,
    *,
    branches: Sequence[Branch] = GUIDED,
    masks: MaskRule | None = None,
) -> Iterator[AttentionControl]:
    """Inside the context, the UNet's calls follow `plan`; on leaving, the UNet is as before.

    The step of a call is found by its timestep, so any sampling loop works, a diffusers pipeline's too. When the
    context ends without an exception, the controlled attention calls are compared with the plan.

    Args:
        branches: order of the rows in each call (see `branches.GUIDED`).
        masks: needed in the masked mode.
    """
    if plan.mode == "masked" and masks is None:
        raise UserError("masked mode: give the words of the object, or masks")
    control = AttentionControl(source, plan, branches, masks)
    before = unet.attn_processors
    cross: dict[str, Processor] = {}
    if plan.mode == "masked" and masks is not None and masks.target_tokens:
        for layer in plan.mask_layers:
            cross[layer.cross_processor] = KeepObjectMap(
                layer,
                before[layer.cross_processor],
                masks.target_tokens,
                control.branches,
                control.map_size,
                control.keep_maps_in(),
            )
    with steered(unet, control, cross):
        yield control


@contextmanager
def steered(unet: UNet2DConditionModel, control: AttentionControl, cross: Mapping[str, Processor]) -> Iterator[None]:
    """Inside the context, `control` attends in place of the planned self-attention layers, and is checked at the end.

    Args:
        cross: processors for cross-attention layers, which give the control its object maps.
    """
    before = unet.attn_processors
    mutual: dict[str, Processor] = {
        layer.self_processor: _MutualSelfAttention(layer, before[layer.self_processor], control)
        for layer in control.plan.layers
    }
    with installed(unet, {**mutual, **cross}), watch_calls(unet, control.begin):
        yield
    control.check_fired()


@contextmanager
def use_source(
    unet: UNet2DConditionModel,
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
