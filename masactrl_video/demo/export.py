"""Turns a training's checkpoints into the folder of weights that ships with the package.

``python -m masactrl_video.demo.export --checkpoint .training/run --networks demo --trained-on "2 CPU cores"``
"""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from diffusers.models.modeling_utils import ModelMixin
from safetensors.torch import load_file

from masactrl_video.demo.architecture import (
    SIZES,
    build_controlnet,
    build_scheduler,
    build_t2i_adapter,
    build_text_encoder,
    build_tiny_vae,
    build_unet,
    build_vae,
)
from masactrl_video.demo.folder import CONDITIONS, WEIGHTS, write_weights
from masactrl_video.demo.tokenizer import build_tokenizer
from masactrl_video.demo.training.checkpoint import load_average
from masactrl_video.demo.world.vocabulary import known_words
from masactrl_video.poses.detectors.network import KeypointNetwork

_CARD = """\
# The demo model of masactrl-video

A small latent diffusion model in Stable Diffusion's layout that knows one cartoon world and nothing else: bears,
pandas, rabbits and frogs in red, blue, green and yellow shirts and pants, standing to dancing in the meadow, at the
beach and in the snow. It ships with masactrl-video so that everything works at once and can be measured: the world is
drawn by a program, which knows the right answer to every picture. It is not for real pictures.

Beside the pipeline's parts: ControlNets and T2I-Adapters for pose and edges, a network that finds the 18 keypoints, and
a tiny autoencoder for previews, as TAESD is.
Trained on pictures drawn by `masactrl_video.demo.world` only, with `python -m masactrl_video.demo.train`.
What it learns from and how it is told where its attention should look: `docs/training.md` of masactrl-video.
Licence: Apache-2.0, as masactrl-video.

| stage | pictures seen | minutes |
| --- | --- | --- |
{stages}

Trained on {trained_on}.
"""

logger = logging.getLogger(__name__)


def export(training: Path, folder: Path, networks: str, size_px: int, trained_on: str) -> None:
    """Writes the moving averages of a training to ``folder`` in float16.

    Args:
        training: what ``masactrl_video.demo.train --out`` wrote.
        networks: the ``--networks`` of that training.
        size_px: the ``--size`` of that training.
        trained_on: the machine, for the model's card.

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
    tiny = build_tiny_vae(size)
    load_average(training / "taesd" / "checkpoint", "taesd", tiny)
    states = _states(training)
    rows = [
        f"| {name} | {state['samples']:,} | {state['elapsed_seconds'] / 60:.0f} |" for name, state in states.items()
    ]
    write_weights(
        folder,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=build_scheduler(),
        beside=guidance | {"keypoints": keypoints, "taesd": tiny},
        card=_CARD.format(stages="\n".join(rows), trained_on=trained_on),
        training=states,
    )


def _states(training: Path) -> dict[str, dict[str, Any]]:
    """How far each stage was trained."""
    paths = sorted(training.glob("*/checkpoint/state.json"))
    return {path.parent.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}


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
    parser.add_argument("--trained-on", required=True, help="the machine, for the model's card: '2 CPU cores'")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    export(args.checkpoint, args.out, args.networks, args.size, args.trained_on)


if __name__ == "__main__":
    main()
