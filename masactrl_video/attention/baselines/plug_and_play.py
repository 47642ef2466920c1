"""Plug-and-Play (Tumanyan et al. 2022, arXiv 2211.12572): the source's features and self-attention in the target."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from diffusers import UNet2DConditionModel

from masactrl_video.attention.baselines.lockstep import Lockstep, SourceQueriesKeys
from masactrl_video.errors import UserError, counted
from masactrl_video.model.backbones.branches import GUIDED, Branch
from masactrl_video.model.backbones.steps import StepClock
from masactrl_video.model.backbones.unet.calls import watch_calls
from masactrl_video.model.backbones.unet.layers import Layer, self_attention_layers
from masactrl_video.model.backbones.unet.processors import Processor, installed

FEATURE_LAYER = 4
"""Decoder layer whose spatial features are injected (Sec. 4)."""


def decoder_layers(unet: UNet2DConditionModel) -> list[str]:
    """Names of the decoder's residual blocks in forward order: the paper's layers, counted from 0 (11 in SD-1.x)."""
    return [
        f"up_blocks.{block}.resnets.{index}"
        for block, module in enumerate(unet.up_blocks)
        for index in range(len(module.resnets))
    ]


def check_decoder(unet: UNet2DConditionModel) -> list[str]:
    """Decoder layers 4 and later.

    Raises:
        UserError: there are none.
    """
    decoder = decoder_layers(unet)
    if len(decoder) <= FEATURE_LAYER:
        raise UserError(
            f"plug-and-play: this UNet's decoder has {counted(len(decoder), 'layer')}, none numbered {FEATURE_LAYER}"
        )
    return decoder[FEATURE_LAYER:]


def attention_of(unet: UNet2DConditionModel, resnets: Sequence[str]) -> list[Layer]:
    """The self-attention layers behind these residual blocks, in the same decoder layers."""
    blocks = tuple(name.replace(".resnets.", ".attentions.") + "." for name in resnets)
    return [layer for layer in self_attention_layers(unet) if layer.name.startswith(blocks)]


@contextmanager
def plug_and_play(
    unet: UNet2DConditionModel,
    timesteps: Sequence[float],
    *,
    source_branches: Sequence[str] = GUIDED,
    branches: Sequence[Branch] = GUIDED,
    feature_steps: float = 0.8,
    attention_steps: float = 0.5,
    feature_layers: Sequence[str] | None = None,
    attention_layers: Sequence[Layer] | None = None,
    clock: StepClock | None = None,
) -> Iterator[Lockstep]:
    """Inside, the target's calls take features and self-attention from the source's call at the same step (Alg. 1).

    Features are the output of a residual block, as the paper has it (Sec. 3); the authors' code takes them just before
    the block adds its shortcut. All branches are injected, each from its own branch of the source.

    Args:
        timesteps: of the denoising steps.
        source_branches: rows of the source's calls.
        branches: rows of the target's calls.
        feature_steps: fraction of the steps, from the first on, with the source's features (1 - tau_f).
        attention_steps: the same for the queries and keys of self-attention (1 - tau_A).
        feature_layers: names of residual blocks; by default decoder layer 4.
        attention_layers: by default those of decoder layers 4 and later.
        clock: of the loop that makes the calls (see `control_attention`).

    Raises:
        UserError: the decoder has no layer 4.
        RuntimeError: on leaving, when an injection did not happen where it had to.
    """
    if feature_layers is None:
        feature_layers = check_decoder(unet)[:1]
    if attention_layers is None:
        attention_layers = attention_of(unet, check_decoder(unet))
    lockstep, before = Lockstep(timesteps, source_branches, branches, clock), unet.attn_processors
    features, attention = (range(round(part * len(timesteps))) for part in (feature_steps, attention_steps))
    processors: dict[str, Processor] = {
        layer.self_processor: SourceQueriesKeys(layer, before[layer.self_processor], lockstep, attention, False)
        for layer in attention_layers
    }
    with ExitStack() as stack:
        stack.enter_context(installed(unet, processors))
        stack.enter_context(watch_calls(unet, lockstep.begin))
        for name in feature_layers:
            hook = _take_features(name, lockstep, features)
            stack.callback(unet.get_submodule(name).register_forward_hook(hook).remove)
        yield lockstep
    lockstep.check_fired(
        dict.fromkeys(feature_layers, features) | {layer.name: attention for layer in attention_layers}
    )


def _take_features(
    name: str, lockstep: Lockstep, steps: Collection[int]
) -> Callable[[torch.nn.Module, object, torch.Tensor], torch.Tensor | None]:
    """A forward hook: the source's output is kept, the target's replaced by it."""

    def hook(_: torch.nn.Module, __: object, output: torch.Tensor) -> torch.Tensor | None:
        if lockstep.step not in steps:
            return None
        if not lockstep.is_target:
            lockstep.kept[name] = (output.detach(),)
            return None
        lockstep.fired[lockstep.step, name] += 1
        return lockstep.for_all_rows(lockstep.kept[name][0], output.shape[0])

    return hook
