"""Turns a training's checkpoints into the folder of weights that ships with the package.

``python -m masactrl_video.demo.export --checkpoint .training/run --networks demo --out masactrl_video/demo/weights``
"""

import argparse
import json
import logging
from pathlib import Path

from diffusers.models.modeling_utils import ModelMixin
from safetensors.torch import load_file

from masactrl_video.demo.architecture import (
    SIZES,
    build_controlnet,
    build_scheduler,
    build_t2i_adapter,
    build_text_encoder,
    build_unet,
    build_vae,
)
from masactrl_video.demo.folder import CONDITIONS, WEIGHTS, write_weights
from masactrl_video.demo.tokenizer import build_tokenizer
from masactrl_video.demo.training.checkpoint import load_average
from masactrl_video.demo.world.vocabulary import known_words
from masactrl_video.guidance.keypoint_network import KeypointNetwork

logger = logging.getLogger(__name__)


def export(training: Path, folder: Path, networks: str, size_px: int) -> None:
    """Writes the moving averages of a training to ``folder`` in float16.

    Args:
        training: what ``masactrl_video.demo.train --out`` wrote.
        networks: the ``--networks`` of that training.
        size_px: the ``--size`` of that training.

    Raises:
        FileNotFoundError: a stage was not trained.
    """
    size = SIZES[networks]
    tokenizer = build_tokenizer(known_words(), size.max_tokens)
    vae = build_vae(size, size_px)
    vae.load_state_dict(load_file(training / "vae.safetensors"))
    factor = 2 ** (len(size.vae_channels) - 1)
    unet = build_unet(size, size_px // factor)
    text_encoder = build_text_encoder(size, tokenizer)
    load_average(training / "unet" / "checkpoint", "unet", unet)
    load_average(training / "unet" / "checkpoint", "text_encoder", text_encoder)
    guidance: dict[str, ModelMixin] = {}
    for condition in CONDITIONS:
        guidance[f"controlnet-{condition}"] = build_controlnet(size, unet)
        guidance[f"t2i-adapter-{condition}"] = build_t2i_adapter(size, factor)
    for name, network in guidance.items():
        _load_guidance(training, name, network)
    keypoints = KeypointNetwork(sample_size=size_px)
    load_average(training / "keypoints" / "checkpoint", "keypoints", keypoints)
    write_weights(
        folder,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=build_scheduler(),
        beside=guidance | {"keypoints": keypoints},
    )


def _load_guidance(training: Path, name: str, network: ModelMixin) -> None:
    """The network as trained on the frozen UNet, or where that was not done, as trained together with the UNet."""
    own = training / name / "checkpoint"
    folder = own if own.exists() else training / "unet" / "checkpoint"
    load_average(folder, name, network)
    logger.info("%s: %s", name, json.loads((folder / "state.json").read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="the --out of the training")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--networks", choices=SIZES, default="demo")
    parser.add_argument("--size", type=int, default=128)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    export(args.checkpoint, args.out, args.networks, args.size)


if __name__ == "__main__":
    main()
