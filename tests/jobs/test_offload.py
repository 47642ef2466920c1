"""Weights that wait on the CPU: the same frames, one group on the device at a time, and no device to move to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.hooks import add_hook_to_module

from masactrl_video.errors import UserError
from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.model.loading.from_settings import _network, model_from_settings
from masactrl_video.model.loading.load import load_guidance
from masactrl_video.model.offload import OneGroup, execution_device, offload_pipeline, set_aside
from masactrl_video.settings.names import OffloadKind
from masactrl_video.settings.settings import Settings

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.long
@pytest.mark.parametrize(("control", "kind"), [("canny", "model"), ("t2i-canny", "sequential")])
def test_frames_are_the_same(
    render: Callable[..., Outputs],
    demo: Callable[..., Settings],
    frames_of: Callable[[Outputs], list[np.ndarray]],
    tmp_path: Path,
    kind: OffloadKind,
    control: str,
) -> None:
    settings = demo(guidance=[control])
    model = model_from_settings(settings)
    offload_pipeline(model.pipe, kind, CPU)
    network = load_guidance(model.pipe, _network(settings.controls[control]))
    for part in (model.unet, model.vae, model.pipe.text_encoder, network.module):
        hook = {"model": "_hf_hook", "sequential": "_diffusers_hook"}[kind]
        assert any(hasattr(module, hook) for module in part.modules()), "it is never moved"
    model = replace(model, networks=(network,))
    outputs = render_clip(settings, tmp_path / "a.mp4", model=model)
    plain = render(tmp_path / "b.mp4", guidance=[control])
    assert np.array_equal(frames_of(outputs), frames_of(plain))


class Part(torch.nn.Module):
    """Says where it is, without a GPU to be on."""

    place = CPU

    def to(self, place: Any) -> Part:
        self.place = place
        return self

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        yield SimpleNamespace(device=self.place)

    def forward(self) -> None:
        pass


def test_one_group_is_on_the_device_at_a_time() -> None:
    text, unet, network, vae = (Part() for _ in range(4))
    groups = {"text": [text], "denoise": [unet, network], "pixels": [vae]}
    for name, parts in groups.items():
        for part in parts:
            add_hook_to_module(part, OneGroup(name, groups, GPU))
    assert execution_device(unet) == GPU

    def there(*called: Part) -> list[bool]:
        for part in called:
            part()
        return [part.place == GPU for part in (text, unet, network, vae)]

    assert there(text) == [True, False, False, False]
    assert there(network) == [False, False, True, False]
    assert there(unet, network) == [False, True, True, False]
    assert there(vae) == [False, False, False, True]
    assert there(network, unet) == [False, True, True, False], "the VAE must leave before the next frames"


def test_without_a_gpu_there_is_nothing_to_move_to(demo: Callable[..., Settings]) -> None:
    with pytest.raises(UserError, match=r"^offload: .* this run is on cpu; leave it out$"):
        model_from_settings(demo(offload="model", device="cpu"))


def test_layers_are_joined_or_parted(demo: Callable[..., Settings]) -> None:
    with pytest.raises(UserError, match="leave one out"):
        demo(offload="sequential", compile=True)


def test_a_model_that_is_set_aside_leaves_its_gpu_and_comes_back_after_an_exception_too() -> None:
    there, here, by_layer = Part(), Part(), Part()
    there.place = by_layer.place = GPU
    by_layer._diffusers_hook = None
    with pytest.raises(KeyError), set_aside([there, here, by_layer]):
        assert (there.place, here.place, by_layer.place) == (CPU, CPU, GPU)
        raise KeyError
    assert (there.place, here.place) == (GPU, CPU)
