"""torch.compile: the same frames, the source in every layer where it was planned, and errors that still name layers."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
from torch._dynamo.utils import counters

from masactrl_video.errors import UserError
from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.model.compile import check_compiler, compile_network, is_compiled
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.from_settings import _network, model_from_settings
from masactrl_video.model.loading.load import load_guidance
from masactrl_video.render.overflow import first_overflow
from masactrl_video.settings.settings import Settings

BACKEND = "eager"  # traced and guarded as ever; only no kernels are written, which takes minutes


@pytest.mark.long
def test_compiled_networks_make_the_same_frames(
    demo: Callable[..., Settings],
    frames_of: Callable[[Outputs], list[np.ndarray]],
    tmp_path: Path,
) -> None:
    settings = demo(guidance=[], frame_load_cap=1)
    model = model_from_settings(settings)
    plain = render_clip(settings, tmp_path / "plain.mp4", model=model)
    compile_network(model.unet, BACKEND)
    counters.clear()
    outputs = render_clip(settings, tmp_path / "out.mp4", model=model)
    assert counters["stats"]["unique_graphs"] > 10, "nothing was compiled"
    assert np.array_equal(frames_of(outputs), frames_of(plain))
    reports = [json.loads(made.report.read_text()) for made in (outputs, plain)]
    attention = reports[0]["render"]["attention"]
    assert attention == reports[1]["render"]["attention"]
    assert attention["controlled_attention_calls"] == attention["expected_attention_calls"] == 8
    assert reports[0]["cache_entry"] != reports[1]["cache_entry"]  # other kernels, other last digits


def test_networks_that_come_later_are_compiled_too(demo: Callable[..., Settings]) -> None:
    model = model_from_settings(demo())
    assert not is_compiled(model.networks[0].module)
    compile_network(model.unet, BACKEND)
    later = load_guidance(model.pipe, _network(demo().controls["canny"]))
    assert is_compiled(later.module)


def test_a_layer_that_overflows_is_named_though_it_is_compiled() -> None:
    model = DiffusionModel(tiny_models.sd1_pipeline())
    compile_network(model.unet.down_blocks[1], BACKEND)
    inputs = (torch.randn(2, 4, 16, 16), torch.tensor(5), torch.randn(2, 7, tiny_models.TEXT_WIDTH))
    model.unet(*inputs)
    with torch.no_grad():
        model.unet.down_blocks[1].resnets[0].conv2.weight.fill_(float("nan"))
    found = first_overflow(model, lambda on_step: model.unet(*inputs))
    assert "down_blocks.1.resnets.0.conv2 (UNet)" in found


def test_without_a_compiler_there_is_one_clear_line() -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("No working C++ compiler found\nmore")

    with pytest.raises(UserError, match=r"^compile: .*No working C\+\+ compiler found.*leave it out$") as caught:
        check_compiler(torch.device("cpu"), backend=broken)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
