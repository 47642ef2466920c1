"""What is particular to FLUX.2: its autoencoder's scale, places of four axes, conversations, distilled guidance."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import tiny_families
import torch
from PIL import Image
from safetensors.torch import save_file

from masactrl_video.attention.record import record_source
from masactrl_video.attention.use import use_source
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer
from masactrl_video.model.backbones.branches import GUIDED
from masactrl_video.model.backbones.flux.packing import grid_of, places
from masactrl_video.model.backbones.flux2.files import Flux2Files
from masactrl_video.model.backbones.qkv import QKV
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt, find_words
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.poses.named_poses import named_pose
from masactrl_video.poses.warp import Skeleton, Skeletons
from masactrl_video.settings.names import SourcePositions

CALL: dict[str, Any] = {"height": 64, "width": 64, "num_inference_steps": 1, "guidance_scale": 1.0}
CALL |= {"max_sequence_length": 64, "output_type": "latent"}
both = pytest.mark.parametrize("name", ["flux2", "flux2-dev"])


@pytest.fixture
def pipe() -> Any:
    return tiny_families.pipeline("flux2")


def test_latents_have_the_scale_that_the_pipeline_gives_them(pipe: Any) -> None:
    space, pixels = backbone_of(pipe).latents(pipe), torch.randn(1, 3, 64, 96).clamp(-1, 1)
    assert space.shape((64, 96)) == (4, 8, 12)
    with torch.no_grad():
        own = space.encode(pipe.vae, pixels, torch.float32)
        assert torch.allclose(own, pipe._unpatchify_latents(pipe._encode_vae_image(pixels, None)), atol=1e-6)
        raw = pipe.vae.encode(pixels).latent_dist.mean
        assert (own - raw).abs().max() > 0.05
        assert torch.allclose(space.decode(pipe.vae, own), pipe.vae.decode(raw).sample, atol=1e-5)


def test_places_are_those_of_the_pipeline(pipe: Any) -> None:
    ids = pipe._prepare_latent_ids(torch.zeros(1, 16, 4, 6))
    assert torch.equal(places((4, 6), axes=4), ids[0].float())
    assert grid_of(ids) == (4, 6)
    assert grid_of(torch.cat([ids[0], pipe._prepare_image_ids([torch.zeros(1, 16, 4, 6)])[0]])) is None


@both
def test_words_are_found_where_they_stand_before_the_transformer(name: str) -> None:
    pipe = tiny_families.pipeline(name)
    tokenizer = backbone_of(pipe).tokenizer(pipe)
    (place,) = find_words(tokenizer, "a bear in the snow", ["snow"])
    one, two = (pipe.encode_prompt(f"a bear in the {word}", max_sequence_length=64)[0] for word in ("snow", "beach"))
    changed = (one - two).abs().amax(dim=(0, 2)) > 1e-6  # the word itself, and what is behind it
    assert int(changed.nonzero()[0]) == place
    assert one.shape[1] == 64 == tokenizer.model_max_length
    with pytest.raises(UserError, match="'panda' is not in the prompt"):
        find_words(tokenizer, "a bear", ["panda"])


@both
def test_a_prompt_that_is_cut_is_told(name: str, caplog: pytest.LogCaptureFixture) -> None:
    model = DiffusionModel(tiny_families.pipeline(name))
    with caplog.at_level(logging.WARNING):
        encode_prompt(model, "a bear in the snow", "", 1.0, (64, 64))
        assert not caplog.records
        encode_prompt(model, "a bear in the snow " * 20, "", 1.0, (64, 64))
    (record,) = caplog.records
    assert "the model reads 64 tokens with the conversation around it" in record.getMessage()


def test_noise_levels_depend_on_size_and_steps_as_in_the_pipeline(pipe: Any) -> None:
    pipe(prompt="a bear", **{**CALL, "num_inference_steps": 3, "width": 96})
    own = make_scheduler(DiffusionModel(pipe), "flow", 3, (64, 96)).timesteps
    assert torch.equal(own, pipe.scheduler.timesteps)
    assert not torch.equal(own, make_scheduler(DiffusionModel(pipe), "flow", 3, (256, 256)).timesteps)


def test_a_distilled_klein_refuses_a_guidance_scale() -> None:
    pipe = tiny_families.flux2_klein_pipeline()
    pipe.register_to_config(is_distilled=True)
    model = DiffusionModel(pipe)
    with pytest.raises(UserError, match=r"guidance_scale: got 3; this model was distilled .* give 1"):
        encode_prompt(model, "a bear", "", 3.0, (64, 64))
    assert encode_prompt(model, "a bear", "", 1.0, (64, 64)).branches == 1


def test_dev_reads_its_scale_and_takes_real_guidance_beside_it() -> None:
    model = DiffusionModel(tiny_families.pipeline("flux2-dev"))
    noise, outs = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), []
    for scale, real in ((1.0, 1.0), (8.0, 1.0), (8.0, 2.0)):
        text = encode_prompt(model, "a bear", "blue" if real > 1 else "", scale, (64, 64), real)
        outs.append(model.backbone.predict(model, noise, torch.tensor(500.0), text, None, 0, 1))
    assert [out.shape[0] for out in outs] == [1, 1, 2]
    assert (outs[0] - outs[1]).abs().max() > 1e-4
    assert torch.equal(outs[2][1], outs[1][0])


def test_a_source_is_recorded_and_used_beside_a_reference_picture(pipe: Any) -> None:
    """On a pipeline as a user holds it; klein-kv's first call, which makes keys and values to keep, is refused."""
    beside = {"image": Image.new("RGB", (64, 80)), "generator": torch.Generator().manual_seed(0)}
    with record_source(pipe.transformer, masa_layer=0) as source:
        first = pipe(prompt="a bear", **CALL, **beside).images
    beside["generator"] = torch.Generator().manual_seed(0)
    with use_source(pipe.transformer, source, masa_step=0, masa_layer=0) as control:
        again = pipe(prompt="a bear", **CALL, **beside).images
    assert control.count.fired.total() == 4
    assert (again - first).abs().max() < 1e-5
    kv, call = tiny_families.flux2_klein_kv_pipeline(), {**CALL, "image": Image.new("RGB", (64, 64))}
    del call["guidance_scale"]
    with (
        pytest.raises(UserError, match=r"a call of FLUX\.2's transformer had tokens that are no single picture's"),
        record_source(kv.transformer, masa_layer=0),
    ):
        kv(prompt="a bear", **call)


def test_a_translation_of_frame_and_source_together_changes_no_score(pipe: Any) -> None:
    def see(layer: AttentionLayer, qkv: QKV) -> None:
        moved, here = qkv.placed(qkv.unplaced_key, (4, 4), (5, 7)), qkv.key
        assert (moved @ moved.transpose(-1, -2) - here @ here.transpose(-1, -2)).abs().max() < 1e-3
        assert (here @ moved.transpose(-1, -2) - here @ here.transpose(-1, -2)).abs().max() > 1e-2
        assert qkv.text is not None
        assert (qkv.text.tokens, qkv.tokens) == (64, 16)
        assert not torch.equal(qkv.text.key, qkv.text.unplaced_key)  # words have places here
        seen.append(layer.name)

    seen: list[str] = []
    backbone = backbone_of(pipe)
    layers = backbone.layers(pipe.transformer)
    with backbone.attending(pipe.transformer, {layer.name: see for layer in layers}, {}):
        pipe(prompt="a bear", **CALL)
    assert seen == [f"{part}transformer_blocks.{number}.attn" for part in ("", "single_") for number in (0, 1)]


@both
def test_a_file_is_known_as_that_of_its_pipeline(name: str, tmp_path: Any) -> None:
    pipe = tiny_families.pipeline(name)
    save_file(pipe.transformer.state_dict(), tmp_path / "file.safetensors")
    assert Flux2Files().pipeline_in("file", tmp_path / "file.safetensors") == type(pipe).__name__


def test_positions_of_a_source_on_a_pipeline_as_it_is_held(pipe: Any) -> None:
    """A frame in the source's own pose is as-is to the bit; every other position gives something else."""

    def skeleton(right: int) -> Skeleton:
        pose = named_pose("standing").transform(lambda xy: xy * 0.12 + [16 * right, 0], width_px=64, height_px=64)
        return Skeleton.of(pose)

    def drawn() -> torch.Tensor:
        out: torch.Tensor = pipe(prompt="a frog", generator=torch.Generator().manual_seed(1), **CALL).images
        return out

    with record_source(pipe.transformer, masa_layer=0) as source:
        pipe(prompt="a bear", generator=torch.Generator().manual_seed(0), **CALL)
    found, here, beside = {}, skeleton(0), skeleton(1)
    kinds: dict[str, tuple[SourcePositions, Skeleton | None]] = {
        "as-is": ("as-is", None), "shifted": ("shifted", None), "free": ("free", None), "pose": ("pose", here),
        "moved": ("pose", beside),
    }  # fmt: skip
    for name, (positions, frame) in kinds.items():
        skeletons = None if frame is None else Skeletons((here,), (frame,))
        with use_source(pipe.transformer, source, masa_step=0, masa_layer=0, positions=positions, skeletons=skeletons):
            found[name] = drawn()
    assert torch.equal(found["pose"], found["as-is"])
    for other in ("shifted", "free", "moved"):
        assert (found[other] - found["as-is"]).abs().max() > 1e-3, other


def test_real_guidance_of_the_pipeline_is_recorded_and_used_in_its_two_calls(pipe: Any) -> None:
    guided = {**CALL, "guidance_scale": 3.0}
    with record_source(pipe.transformer, masa_layer=0, branches=GUIDED) as source:
        first = pipe(prompt="a bear", generator=torch.Generator().manual_seed(0), **guided).images
    with use_source(pipe.transformer, source, masa_step=0, masa_layer=0, branches=GUIDED) as control:
        again = pipe(prompt="a bear", generator=torch.Generator().manual_seed(0), **guided).images
    assert control.count.fired.total() == 2 * 4
    assert (again - first).abs().max() < 1e-5
