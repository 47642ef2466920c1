"""Numbers that are not finite: found in the frame where they are, made again in float32, or traced to their layer.

Half precision ends at 65504 (float16) or keeps 3 digits (bfloat16). What overflows becomes NaN in every later step and
a black picture in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from masactrl_video.errors import UserError
from masactrl_video.model.compile import is_compiled
from masactrl_video.model.diffusion import DiffusionModel

OnStep = Callable[[int, Sequence[int]], None]
"""Called with the index of a denoising step and the numbers of the frames that have taken it."""


def finite_frames(latents: torch.Tensor) -> list[bool]:
    """(frames, channels, height, width) → for each frame whether all its numbers are finite."""
    finite: list[bool] = latents.flatten(1).isfinite().all(dim=1).tolist()
    return finite


def check_finite(latents: torch.Tensor, names: Sequence[str], dtype: torch.dtype) -> None:
    """See that latents (pictures, channels, height, width) can be decoded.

    Raises:
        UserError: numbers that overflowed; it tells the picture's name.
    """
    for name, good in zip(names, finite_frames(latents), strict=True):
        if not good:
            raise UserError(
                f"{name}: its latents are not finite numbers in {dtype}; render with --dtype float32 (or bfloat16)"
            )


@contextmanager
def in_float32(model: DiffusionModel) -> Iterator[None]:
    """Inside the context, UNet, decoder and guidance networks compute in float32; afterwards as before, to the bit."""
    modules: list[Any] = [model.denoiser, model.decoder, *(network.module for network in model.networks)]
    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.to, module.dtype)
            module.to(torch.float32)
        yield


class _Found(Exception):  # noqa: N818, an answer
    """The name of the first module whose output is not finite."""


def first_overflow(model: DiffusionModel, denoise: Callable[[OnStep], object]) -> str:
    """Where numbers stop being finite, in words.

    Args:
        denoise: denoises the frames in question once more, and calls what it gets after each step with the step's
            index and the frames.
    """
    step_now = 0

    def on_step(step: int, _: Sequence[int]) -> None:
        nonlocal step_now
        step_now = step + 1

    try:
        with _watched(model):
            denoise(on_step)
    except _Found as found:
        return f"at denoising step {step_now}, in {found}"
    return "in the scheduler's step, after the last layer of the network"


@contextmanager
def _watched(model: DiffusionModel) -> Iterator[None]:
    """Inside the context, the first layer whose output is not finite raises `_Found`."""

    def hook(name: str) -> Any:
        def after(_: torch.nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and not output.isfinite().all():
                raise _Found(name)

        return after

    backbone = model.backbone
    denoiser = "UNet" if backbone.denoisers[0].startswith("UNet") else backbone.denoiser_part
    networks = {f"{network.name} network": network.module for network in model.networks}
    with ExitStack() as stack:
        if is_compiled(model.denoiser):  # what is compiled calls no hooks
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for part, module in {denoiser: model.denoiser, **networks}.items():
            for name, layer in module.named_modules():
                if not any(True for _ in layer.children()):
                    stack.callback(layer.register_forward_hook(hook(f"{name} ({part})")).remove)
        yield
