"""Which of the known networks a MODEL has."""

from __future__ import annotations

from masactrl_video.comfyui.comfy_types import Patcher
from masactrl_video.comfyui.families import family_of
from masactrl_video.comfyui.layers import unet_layers
from masactrl_video.comfyui.networks import ComfyNetwork
from masactrl_video.comfyui.transformers import Transformer
from masactrl_video.comfyui.unets import UNet
from masactrl_video.errors import UserError


def network_of(model: Patcher) -> ComfyNetwork:
    """The denoiser of a MODEL, and its layers.

    Raises:
        UserError: it is none that these nodes know, or one whose tokens are the frames of a video.
    """
    network = model.model.diffusion_model
    if hasattr(network, "input_blocks"):
        return UNet(unet_layers(model))
    family = family_of(network)
    if family is None:
        raise UserError(
            f"model: a {type(network).__name__} is not known; these nodes take UNets (Stable Diffusion 1, 2 and XL), "
            "FLUX, Qwen-Image and Z-Image (for others use masactrl-video itself)"
        )
    family.check(network)
    return Transformer(family, network, family.layers(network))
