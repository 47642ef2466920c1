"""Networks of the learned figures, loaded from local folders or the hub's cache, and never from pickles.

DreamSim's own package reads some of its files by torch's loader of weights alone, which runs no code of theirs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from masactrl_video.errors import UserError
from masactrl_video.measure.figure import Floats
from masactrl_video.measure.learned import Distance, Embed, unit
from masactrl_video.measure.moments import Picture

_DINO_COLOURS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP_COLOURS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def open_dino(name: str, device: str) -> Embed:
    """The class token of a ViT such as facebook/dino-vitb16; frames are brought to it as VBench does.

    Raises:
        UserError: no such model, or one without safetensors.
    """
    import torch

    model = _loaded("--dino", name, device)
    side_px = int(getattr(model.config, "image_size", 224))

    def embed(picture: Picture) -> Floats:
        pixels = _scaled(picture, side_px, "bilinear", _DINO_COLOURS).to(device)
        with torch.inference_mode():
            tokens = model(pixel_values=pixels, interpolate_pos_encoding=True).last_hidden_state
        return unit(tokens[0, 0].double().cpu().numpy())

    return embed


def open_clip(name: str, device: str) -> tuple[Embed, Callable[[str], Floats]]:
    """The vectors of pictures, brought to it as VBench does, and of texts, by a CLIP.

    VBench takes ViT-B/32, on the hub openai/clip-vit-base-patch32.

    Raises:
        UserError: no such model, or one without safetensors.
    """
    import torch
    from transformers import AutoTokenizer

    model = _loaded("--clip", name, device)
    side_px = int(model.config.vision_config.image_size)

    def vector(features: Any) -> Floats:
        pooled = getattr(features, "pooler_output", features)  # transformers 5 wraps it
        return unit(pooled[0].double().cpu().numpy())

    def embed(picture: Picture) -> Floats:
        pixels = _scaled(picture, side_px, "bicubic", _CLIP_COLOURS)
        top, left = ((side - side_px) // 2 for side in pixels.shape[-2:])
        cut = pixels[..., top : top + side_px, left : left + side_px].to(device)
        with torch.inference_mode():
            return vector(model.get_image_features(pixel_values=cut))

    def embed_text(text: str) -> Floats:
        try:
            tokens = AutoTokenizer.from_pretrained(name)(text, truncation=True, return_tensors="pt").to(device)
        except (OSError, ValueError) as error:
            raise UserError(f"--clip: {name} has no tokenizer that can be read ({_first_line(error)})") from error
        with torch.inference_mode():
            return vector(model.get_text_features(**tokens))

    return embed, embed_text


def _loaded(flag: str, name: str, device: str) -> Any:
    from transformers import AutoModel

    try:
        return AutoModel.from_pretrained(name, use_safetensors=True).eval().to(device)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{flag}: {name} cannot be loaded ({_first_line(error)}); give a folder with config.json and "
            "model.safetensors, or a hub id that has them"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _scaled(picture: Picture, shorter_px: int, mode: str, colours: tuple[tuple[float, ...], tuple[float, ...]]) -> Any:
    """(1, 3, height, width): the shorter side scaled, without antialiasing as in VBench, colours as the network's."""
    import torch
    from torch.nn.functional import interpolate

    height, width = picture.shape[:2]
    size = [int(shorter_px * side / min(height, width)) for side in (height, width)]
    pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()
    pixels = interpolate(pixels, size=size, mode=mode, align_corners=False, antialias=False) / 255
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in colours)
    return (pixels - mean) / deviation


def open_lpips(weights: Path, device: str) -> tuple[Distance, str]:
    """LPIPS of the package `lpips`, and the name of its network, with all weights from a safetensors file.

    Raises:
        UserError: the package is missing, or the file is not of LPIPS.
    """
    import torch
    from safetensors.torch import load_file

    lpips = _package("lpips", "--lpips")
    try:
        state = load_file(weights)
    except Exception as error:  # whatever safetensors says of a file that is none
        raise UserError(f"--lpips: {weights} is no safetensors file that can be read ({_first_line(error)})") from error
    networks = {
        net: lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False) for net in ("alex", "squeeze", "vgg")
    }
    net = next((net for net, model in networks.items() if model.state_dict().keys() == state.keys()), None)
    if net is None:
        raise UserError(f"--lpips: {weights} holds no LPIPS of alex, squeeze or vgg; see docs/measure.md")
    networks[net].load_state_dict(state)
    model = networks[net].eval().to(device)

    def distance(first: Picture, second: Picture) -> float:
        pair = [torch.from_numpy(np.ascontiguousarray(p)).permute(2, 0, 1)[None].float() for p in (first, second)]
        with torch.inference_mode():
            return float(model(*(p.to(device) / 127.5 - 1 for p in pair)))

    return distance, net


_OF_DREAMSIM = (
    *("dino_vitb16_pretrain.pth", "clip_vitb16_pretrain.pth.tar", "open_clip_vitb16_pretrain.pth.tar"),
    "ensemble_lora",
)


def open_dreamsim(folder: Path, device: str) -> Distance:
    """DreamSim's ensemble of the package `dreamsim`, from a folder that has all of its files.

    Raises:
        UserError: the package or a file is missing.
    """
    import torch
    from PIL import Image

    package = _package("dreamsim", "--dreamsim")
    missing = [name for name in _OF_DREAMSIM if not (folder / name).exists()]
    if missing:
        raise UserError(
            f"--dreamsim: {folder} has no {missing[0]}; give the folder into which dreamsim unpacks its weights"
        )
    with _weights_only():
        model, prepare = package.dreamsim(pretrained=True, device=device, cache_dir=str(folder))

    def distance(first: Picture, second: Picture) -> float:
        pair = [prepare(Image.fromarray(picture)).to(device) for picture in (first, second)]
        with torch.inference_mode():
            return float(model(*pair))

    return distance


@contextmanager
def _weights_only() -> Iterator[None]:
    """Inside the context torch unpickles nothing but weights, whatever the package asks for."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _package(name: str, flag: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(f"{flag} needs the package {name} ({error}); pip install 'masactrl-video[measure]'") from error
