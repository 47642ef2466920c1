"""FLUX, Qwen-Image and Z-Image in a real ComfyUI (see `test_real_comfyui`).

The models are tiny ones of diffusers, made here, with their weights in the layout of ComfyUI's files. What their
ComfyUI does not know is skipped.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import pytest
import tiny_flux
import torch
from comfy_layout import Tensors, config_of, flux_keys, qwen_keys, zimage_keys
from diffusers import QwenImageTransformer2DModel, ZImageTransformer2DModel
from diffusers.models.transformers.transformer_z_image import TimestepEmbedder
from tiny_families import lively

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.parts import SourcePart
from masactrl_video.attention.plan import plan_control
from masactrl_video.attention.record import record_source as record_ours
from masactrl_video.attention.recorded import MemorySource
from masactrl_video.attention.use import control_attention
from masactrl_video.comfyui.using import on_grid
from masactrl_video.comfyui.words import Words
from masactrl_video.model.backbones.branches import GUIDED, UNGUIDED
from masactrl_video.model.backbones.joint.packing import pack, unpack
from masactrl_video.model.backbones.steps import StepClock

pytestmark = pytest.mark.skipif("COMFYUI_PATH" not in os.environ, reason="COMFYUI_PATH does not say where ComfyUI is")

STEPS, SIZE = 4, (8, 12)


def flux() -> Any:
    return tiny_flux.transformer()


def qwen() -> Any:
    torch.manual_seed(0)
    return lively(
        QwenImageTransformer2DModel(
            in_channels=64,
            out_channels=16,
            num_layers=3,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            axes_dims_rope=(8, 4, 4),
        )
    )


def zimage() -> Any:
    """As narrow as ComfyUI can have it."""
    torch.manual_seed(0)
    network = ZImageTransformer2DModel(
        all_patch_size=(2,),
        in_channels=16,
        dim=384,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=6,
        n_kv_heads=6,
        cap_feat_dim=16,
        axes_dims=[32, 16, 16],
        axes_lens=[256, 64, 64],
    )
    network.t_embedder = TimestepEmbedder(256, mid_size=384)  # ComfyUI makes it as wide as the network
    with torch.no_grad():
        network.x_pad_token.normal_()
        network.cap_pad_token.normal_()
    return lively(network)


def flux_call(network: Any, x: torch.Tensor, t: float, texts: Sequence[torch.Tensor]) -> torch.Tensor:
    """All branches at once: (branches x frames, channels, height, width)."""
    frames, (height, width) = len(x), x.shape[-2:]
    text = torch.cat([each.expand(frames, -1, -1) for each in texts])
    ids = torch.zeros(height // 2, width // 2, 3)
    ids[..., 1], ids[..., 2] = torch.arange(height // 2)[:, None], torch.arange(width // 2)
    out = network(
        pack(x).repeat(len(texts), 1, 1),
        text,
        torch.zeros(len(text), 16),
        torch.full((len(text),), t),
        ids.reshape(-1, 3),
        torch.zeros(text.shape[1], 3),
        return_dict=False,
    )[0]
    return unpack(out, height, width)


def qwen_call(network: Any, x: torch.Tensor, t: float, texts: Sequence[torch.Tensor]) -> torch.Tensor:
    frames, (height, width) = len(x), x.shape[-2:]
    (text,) = texts
    shapes = [[(1, height // 2, width // 2)]] * frames
    out = network(
        pack(x), text.expand(frames, -1, -1), None, torch.full((frames,), t), img_shapes=shapes, return_dict=False
    )
    return unpack(out[0], height, width)


def zimage_call(network: Any, x: torch.Tensor, t: float, texts: Sequence[torch.Tensor]) -> torch.Tensor:
    """All branches at once, the prompt's first, as the pipeline of diffusers has them."""
    pictures = list(x[:, :, None].unbind()) * len(texts)
    captions = [text[0] for text in reversed(texts) for _ in x]
    out = network(pictures, torch.full((len(pictures),), 1 - t), captions, return_dict=False)[0]
    return torch.cat((-torch.stack(out)[:, :, 0]).chunk(len(texts))[::-1])


@dataclass(frozen=True)
class Kind:
    """A family, here and there."""

    name: str
    make: Callable[[], Any]
    keys: Callable[[torch.nn.Module], Tensors]
    call: Callable[[Any, torch.Tensor, float, Sequence[torch.Tensor]], torch.Tensor]
    config: str
    channels: int
    text: tuple[int, int]
    time: bool = False
    """Whether latents have a dimension of time there."""
    together: bool = True
    """Whether our own calls have all branches in one, where a source acts."""
    recorded_together: bool = True
    """The same where a source is recorded."""

    @cached_property
    def ours(self) -> Any:
        return self.make()

    def prompt(self, seed: int, more: int = 0) -> torch.Tensor:
        shape = (1, self.text[0] + more, self.text[1])
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    def noise(self, seed: int, frames: int = 1, size: tuple[int, int] = SIZE) -> torch.Tensor:
        return torch.randn(frames, self.channels, *size, generator=torch.Generator().manual_seed(seed))

    def there(self, comfy: Any) -> Any:
        """A MODEL of ComfyUI with the same weights."""
        known = importlib.import_module("comfy.supported_models")
        if not hasattr(known, self.config):
            pytest.skip(f"this ComfyUI does not know {self.name}")
        fields = config_of(self.ours)
        params = importlib.import_module("comfy.ldm.flux.model").FluxParams
        if self.name == "flux" and "txt_ids_dims" in params.__dataclass_fields__:
            fields["txt_ids_dims"] = []
        config = getattr(known, self.config)(fields)
        config.set_inference_dtype(torch.float32, None)
        state = config.process_unet_state_dict(self.keys(self.ours))
        model = config.get_model(state, "", torch.device("cpu"))
        report = model.diffusion_model.load_state_dict(state, strict=False)
        assert not report.missing_keys and not report.unexpected_keys, report
        patcher = importlib.import_module("comfy.model_patcher").ModelPatcher
        return patcher(model.eval(), torch.device("cpu"), torch.device("cpu"))


KINDS = [
    Kind("flux", flux, flux_keys, flux_call, "Flux", 4, (6, 32), recorded_together=False),
    Kind("qwen", qwen, qwen_keys, qwen_call, "QwenImage", 16, (6, 16), time=True, together=False),
    Kind("zimage", zimage, zimage_keys, zimage_call, "ZImage", 16, (6, 16)),
]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    found = request.param
    assert isinstance(found, Kind)
    return found


@pytest.fixture(scope="module")
def model(comfy: Any, kind: Kind) -> Any:
    return kind.there(comfy)


@dataclass(frozen=True)
class Prompts:
    text: torch.Tensor
    negative: torch.Tensor
    scale: float = 3.0


def in_comfyui(
    comfy: Any, kind: Kind, model: Any, start: torch.Tensor, prompts: Prompts, callback: Any = None
) -> torch.Tensor:
    start = start[:, :, None] if kind.time else start
    given = {"pooled_output": torch.zeros(1, 16)} if kind.name == "flux" else {}
    conditions = [[prompts.text, given]], [[prompts.negative, given]]
    made = comfy.sample.sample(
        model,
        start,
        STEPS,
        prompts.scale,
        "euler",
        "simple",
        *conditions,
        torch.zeros_like(start),
        seed=1,
        disable_pbar=True,
        callback=callback,
    )
    assert isinstance(made, torch.Tensor)
    return made[:, :, 0] if kind.time else made


CLOCK = StepClock()


@torch.no_grad()
def ours(
    comfy: Any, kind: Kind, model: Any, start: torch.Tensor, prompts: Prompts, *, together: bool | None = None
) -> torch.Tensor:
    """The same Euler steps through diffusers; latents as ComfyUI gives them out.

    together: whether all branches are in one call; as the kind has it where a source acts, if not given.
    """
    together = kind.together if together is None else together
    sampling = model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "simple", STEPS)
    x = sampling.noise_scaling(sigmas[0], start, torch.zeros_like(start))
    for step, (sigma, following) in enumerate(pairwise(sigmas)):
        t = float(sampling.timestep(sigma))
        texts = [prompts.text] if prompts.scale == 1 else [prompts.negative, prompts.text]
        if together:
            with CLOCK.at(step):
                made = kind.call(kind.ours, x, t, texts).chunk(len(texts))
        else:
            made = tuple(reversed([kind.call(kind.ours, x, t, [text]) for text in reversed(texts)]))
        velocity = made[-1] if prompts.scale == 1 else made[0] + prompts.scale * (made[1] - made[0])
        x = x + velocity * (following - sigma)
    made_out = model.model.process_latent_out(x[:, :, None] if kind.time else x)
    return made_out[:, :, 0] if kind.time else made_out


def recorded(
    comfy: Any, kind: Kind, model: Any, start: torch.Tensor, prompts: Prompts, words: Words | None = None
) -> Any:
    from masactrl_video.comfyui.nodes import RecordedSource, RecordSource

    patched, recording = RecordSource.execute(model, 0, words).result
    made = in_comfyui(comfy, kind, patched, start, prompts)
    return RecordedSource.execute(recording, {"samples": made[:, :, None] if kind.time else made}).result[0]


def recorded_ours(
    comfy: Any, kind: Kind, model: Any, start: torch.Tensor, prompts: Prompts, words: Sequence[int] = ()
) -> MemorySource:
    more = {"object_tokens": words, "mask_grid_divisor": 2}
    with record_ours(kind.ours, masa_layer=0, branches=branches(prompts), **more) as source:
        ours(comfy, kind, model, start, prompts, together=kind.together and kind.recorded_together)
    return source


def branches(prompts: Prompts) -> Any:
    return UNGUIDED if prompts.scale == 1 else GUIDED


def used(model: Any, source: Any, mode: str = "source", **more: Any) -> Any:
    from masactrl_video.comfyui.nodes import UseSource

    options = {"first_step": 1, "first_layer": 1, "weight": 1.0} | more
    return UseSource.execute(model, source, mode, **options).result[0]


def far(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference, as a part of the largest value."""
    return float((a - b).abs().max() / b.abs().max())


MASK = torch.zeros(1, 64, 96)
MASK[:, :, 32:] = 1
ANOTHER = torch.zeros(2, 64, 96)
ANOTHER[:, 16:48] = 1


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("mode", ["source", "union", "masked", "words"])
def test_the_patched_sampler_equals_our_own_render(
    mode: str, scale: float, together: bool, comfy: Any, kind: Kind, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not together:  # no memory for both prompts in one call
        monkeypatch.setattr(type(model.model), "memory_required", lambda *_, **__: 1 << 60)
    first, second = (Prompts(kind.prompt(seed), kind.prompt(1), scale) for seed in (2, 3))
    start, frames = kind.noise(5), kind.noise(6, 2)
    plain = in_comfyui(comfy, kind, model, start, first)
    assert far(plain, ours(comfy, kind, model, start, first)) < 1e-4
    words = Words((1, 2)) if mode == "words" else None
    source = recorded(comfy, kind, model, start, first, words)
    masks = {"source_mask": MASK, "target_mask": ANOTHER} if mode == "masked" else {}
    way, layer = ("masked", 2) if words else (mode, 1)
    patched = used(model, source, way, first_layer=layer, words=words, **masks)
    made = in_comfyui(comfy, kind, patched, frames, second)
    own_source = recorded_ours(comfy, kind, model, start, first, words.tokens if words else ())
    divisor = 2 if words else None
    plan = plan_control(kind.ours, STEPS, masa_step=1, masa_layer=layer, mode=way, mask_grid_divisor=divisor)
    rule = MaskRule(source_mask=on_grid(MASK, SIZE)[0]) if masks else MaskRule(words.tokens) if words else None
    with control_attention(kind.ours, own_source, plan, branches=branches(second), masks=rule, clock=CLOCK) as control:
        control.figures.target_mask = on_grid(ANOTHER, SIZE) if masks else None
        expected = ours(comfy, kind, model, frames, second)
    print(f"{kind.name}, {mode}: {far(made, expected):.1e} from our own render")
    assert far(made, expected) < 1e-4
    assert far(made, ours(comfy, kind, model, frames, second)) > 2e-3
    assert torch.equal(in_comfyui(comfy, kind, model, start, first), plain)  # the given model is as it was


def test_prompts_of_other_lengths_than_the_source_s(comfy: Any, kind: Kind, model: Any) -> None:
    """The places of Z-Image's pictures depend on the length of the caption."""
    first, second = Prompts(kind.prompt(2), kind.prompt(1)), Prompts(kind.prompt(3, 40), kind.prompt(1, 2))
    if kind.name == "flux":
        second = Prompts(kind.prompt(3, 40), kind.prompt(1, 40))  # ours has all branches in one call
    source = recorded(comfy, kind, model, kind.noise(5), first)
    made = in_comfyui(comfy, kind, used(model, source, "union"), kind.noise(6), second)
    plan = plan_control(kind.ours, STEPS, masa_step=1, masa_layer=1, mode="union")
    with control_attention(kind.ours, recorded_ours(comfy, kind, model, kind.noise(5), first), plan, clock=CLOCK):
        expected = ours(comfy, kind, model, kind.noise(6), second)
    assert far(made, expected) < 1e-4


def test_two_sources_of_other_sizes_in_one_graph(comfy: Any, kind: Kind, model: Any) -> None:
    prompts, sizes = Prompts(kind.prompt(2), kind.prompt(1)), ((12, 8), (8, 12))
    chained, parts = model, []
    for seed, size, weight in zip((5, 7), sizes, (1.0, 0.5), strict=True):
        start = kind.noise(seed, size=size)
        chained = used(chained, recorded(comfy, kind, model, start, prompts), "union", weight=weight)
        own = recorded_ours(comfy, kind, model, start, prompts)
        parts.append(SourcePart(own, latent_size=size, weight=weight))
    made = in_comfyui(comfy, kind, chained, kind.noise(6), prompts)
    plan = plan_control(kind.ours, STEPS, masa_step=1, masa_layer=1, mode="union")
    with control_attention(kind.ours, parts, plan, clock=CLOCK):
        expected = ours(comfy, kind, model, kind.noise(6), prompts)
    assert far(made, expected) < 1e-4


def test_interrupted_in_the_middle_and_run_again(comfy: Any, kind: Kind, model: Any) -> None:
    prompts = Prompts(kind.prompt(2), kind.prompt(1))
    patched = used(model, recorded(comfy, kind, model, kind.noise(5), prompts))
    whole = in_comfyui(comfy, kind, patched, kind.noise(6), prompts)
    interruption = comfy.model_management.InterruptProcessingException

    def stop(step: int, *_: object) -> None:
        if step == 1:
            raise interruption

    with pytest.raises(interruption):
        in_comfyui(comfy, kind, patched, kind.noise(9), prompts, callback=stop)
    assert torch.equal(in_comfyui(comfy, kind, patched, kind.noise(6), prompts), whole)
    assert not any(module._forward_pre_hooks for module in model.model.diffusion_model.modules())
