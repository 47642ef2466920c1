"""Turns a training's checkpoints into the folder of weights that ships with the package.

``python -m masactrl_video.demo.export --checkpoint .training/run --networks demo --trained-on "2 CPU cores"``
With ``--model demo-dit`` it is the transformer's folder, in FLUX's layout.
"""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL
from diffusers.models.modeling_utils import ModelMixin
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from masactrl_video.demo.architecture import (
    SIZES,
    Size,
    build_controlnet,
    build_flow_scheduler,
    build_flux_controlnet,
    build_scheduler,
    build_t2i_adapter,
    build_text_encoder,
    build_tiny_vae,
    build_transformer,
    build_unet,
    build_vae,
)
from masactrl_video.demo.folder import CONDITIONS, MODELS, write_transformer_weights, write_weights
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

_TRANSFORMER_CARD = """\
# demo-dit, the demo transformer of masactrl-video

A small flow-matching transformer in FLUX.1's layout that knows the cartoon world of masactrl-video's demo model and
nothing else, with that model's autoencoder and text encoder, and with a ControlNet for poses in `controlnet-pose`.
It is there so that what mutual self-attention does to a transformer can be measured. It is not for real pictures.

`FluxPipeline` and `FluxControlNetPipeline` of diffusers load it; give them `max_sequence_length={tokens}`, and guide it
by `true_cfg_scale` with an empty `negative_prompt`.
How it was trained: `docs/training.md` of masactrl-video. Licence: Apache-2.0, as masactrl-video.

| stage | pictures seen | minutes |
| --- | --- | --- |
{stages}

Trained on {trained_on}.
"""

_TRANSFORMER_STAGE = "dit"

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
    vae, text_encoder, tokenizer = _common(training, size, size_px)
    factor = 2 ** (len(size.vae_channels) - 1)
    unet = build_unet(size, size_px // factor)
    load_average(training / "unet" / "checkpoint", "unet", unet)
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
    states.pop(_TRANSFORMER_STAGE, None)
    write_weights(
        folder,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=build_scheduler(),
        beside=guidance | {"keypoints": keypoints, "taesd": tiny},
        card=_CARD.format(stages=_rows(states), trained_on=trained_on),
        training=states,
    )


def export_transformer(training: Path, folder: Path, networks: str, size_px: int, trained_on: str) -> None:
    """As `export`, of the transformer: a folder in FLUX's layout."""
    size = SIZES[networks]
    vae, text_encoder, tokenizer = _common(training, size, size_px)
    transformer, controlnet = build_transformer(size), build_flux_controlnet(size)
    for name, network in {"transformer": transformer, "controlnet": controlnet}.items():
        load_average(training / _TRANSFORMER_STAGE / "checkpoint", name, network)
    states = {_TRANSFORMER_STAGE: _states(training)[_TRANSFORMER_STAGE]}
    write_transformer_weights(
        folder,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        transformer=transformer,
        scheduler=build_flow_scheduler(),
        beside={"controlnet-pose": controlnet},
        card=_TRANSFORMER_CARD.format(stages=_rows(states), trained_on=trained_on, tokens=size.max_tokens),
        training=states,
    )


def _common(training: Path, size: Size, size_px: int) -> tuple[AutoencoderKL, CLIPTextModel, CLIPTokenizer]:
    """What both models have."""
    tokenizer = build_tokenizer(known_words(), size.max_tokens)
    vae = build_vae(size, size_px)
    vae.load_state_dict(load_file(training / "vae.safetensors"))
    text_encoder = build_text_encoder(size, tokenizer)
    load_average(training / "unet" / "checkpoint", "text_encoder", text_encoder)
    return vae, text_encoder, tokenizer


def _rows(states: dict[str, dict[str, Any]]) -> str:
    """The lines of a card's table."""
    return "\n".join(
        f"| {name} | {state['samples']:,} | {state['elapsed_seconds'] / 60:.0f} |" for name, state in states.items()
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
    parser.add_argument("--model", choices=MODELS, default="demo", help="the UNet's or the transformer's")
    parser.add_argument("--out", type=Path, help="folder (default: the package's own)")
    parser.add_argument("--networks", choices=SIZES, default="demo")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--trained-on", required=True, help="the machine, for the model's card: '2 CPU cores'")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    write = export if args.model == "demo" else export_transformer
    write(args.checkpoint, args.out or MODELS[args.model], args.networks, args.size, args.trained_on)


if __name__ == "__main__":
    main()
