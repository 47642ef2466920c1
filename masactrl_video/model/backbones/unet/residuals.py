"""What ControlNets and T2I-Adapters give a UNet to add to its features."""

from __future__ import annotations

import torch

from masactrl_video.model.backbones.unet.controls import PreparedGuidance
from masactrl_video.model.patching import swapped


@torch.no_grad()
def residuals(
    guidance: PreparedGuidance,
    latents: torch.Tensor,
    timestep: torch.Tensor,
    step: int,
    num_steps: int,
    text: dict[str, object],
    branches: int,
) -> dict[str, object]:
    """Keyword arguments for a UNet call on `latents` (branches x frames, channels, height, width).

    Args:
        text: `encoder_hidden_states` and, for SDXL, `added_cond_kwargs` of that call.
    """
    out: dict[str, object] = {}
    down_sum, mid_sum = None, None
    for (network, _), embedded in zip(guidance.controlnets, guidance.embedded, strict=True):
        if not network.acts_at(step, num_steps):
            continue
        with swapped(network.module, controlnet_cond_embedding=torch.nn.Identity()):  # done before the first step
            down, mid = network.module(
                latents,
                timestep,
                controlnet_cond=embedded.repeat(branches, 1, 1, 1),
                conditioning_scale=network.scale,
                return_dict=False,
                **text,
            )
        down_sum = down if down_sum is None else [a + b for a, b in zip(down_sum, down, strict=True)]
        mid_sum = mid if mid_sum is None else mid_sum + mid
    if down_sum is not None:
        out.update(down_block_additional_residuals=tuple(down_sum), mid_block_additional_residual=mid_sum)
    acting = [features for network, features in guidance.adapters if network.acts_at(step, num_steps)]
    if acting:
        summed = [sum(parts[1:], parts[0]) for parts in zip(*acting, strict=True)]
        out["down_intrablock_additional_residuals"] = [part.repeat(branches, 1, 1, 1) for part in summed]
    return out
