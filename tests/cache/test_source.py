"""A source is recorded once; whatever determines it makes another entry, and nothing damaged is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from safetensors.torch import load_file

from masactrl_video.attention.plan import plan_control
from masactrl_video.attention.record import record_source
from masactrl_video.attention.recorded import SHARED
from masactrl_video.cache.index import CacheDamaged
from masactrl_video.cache.manage import list_entries
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.cache.store import CacheWriter
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.branches import GUIDED
from masactrl_video.model.backbones.unet.controls import GuidanceNetwork, prepare_guidance
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt, find_words
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.sources import record as module
from masactrl_video.sources.record import ObjectWords, cached_source, expected_bytes
from masactrl_video.sources.source import GeneratedSource, RealSource, unique_branches

PROMPT = "a bear in the meadow"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A source with everything that determines it."""

    prompt: str = PROMPT
    negative: str = ""
    seed: int = 5
    size: tuple[int, int] = (64, 96)
    steps: int = 3
    masa_step: int = 1
    masa_layer: int = 12
    scheduler: Any = "ddim"
    guidance_scale: float = 4.0
    words: tuple[str, ...] = ()
    pose_seed: int | None = None
    network_scale: float = 1.0
    real: bool = False
    picture_seed: int = 7

    def plan(self, model: DiffusionModel) -> Any:
        divisor = 4 if self.words else None
        return plan_control(
            model.unet,
            self.steps,
            masa_step=self.masa_step,
            masa_layer=self.masa_layer,
            mode="masked" if self.words else "source",
            mask_grid_divisor=divisor,
        )

    def source(self, model: DiffusionModel) -> tuple[GeneratedSource | RealSource, tuple[str, ...]]:
        scheduler = make_scheduler(model, self.scheduler, self.steps)
        if self.real:
            text = encode_prompt(model, "", self.negative, 7.5, self.size)
            prompts, branches = unique_branches(text, GUIDED, SHARED)
            return RealSource(
                model, scheduler, 0.5 * initial_noise(model, self.size, self.picture_seed), prompts
            ), branches
        text = encode_prompt(model, self.prompt, self.negative, 7.5, self.size)
        networks, pictures = [], []
        if self.pose_seed is not None:
            networks.append(GuidanceNetwork("pose", tiny_models.controlnet(model.unet), self.network_scale))
            rng = np.random.default_rng(self.pose_seed)
            pictures.append(rng.integers(0, 255, (1, *self.size, 3), dtype=np.uint8))
        guidance = prepare_guidance(networks, pictures)
        denoising = Denoising(model, text, self.guidance_scale, self.seed)
        return GeneratedSource(denoising, scheduler, initial_noise(model, self.size, self.seed), guidance), GUIDED

    def cached(self, root: Path, model: DiffusionModel) -> CachedSource:
        source, branches = self.source(model)
        words = ObjectWords(find_words(model.pipe.tokenizer, self.prompt, self.words)) if self.words else None
        if words is not None and self.real:
            words = ObjectWords(words.tokens, encode_prompt(model, self.prompt, "", 1.0, self.size))
        return cached_source(root, model, source, branches, self.plan(model), words)


@pytest.fixture
def model() -> DiffusionModel:
    return DiffusionModel(tiny_models.sd1_pipeline())


@pytest.fixture
def unet_calls(model: DiffusionModel) -> list[int]:
    calls: list[int] = []
    model.unet.register_forward_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize("case", [Case(), Case(real=True), Case(words=("bear",)), Case(real=True, words=("bear",))])
def test_the_second_time_no_network_runs(root: Path, model: DiffusionModel, unet_calls: list[int], case: Case) -> None:
    first = case.cached(root, model)
    assert unet_calls
    unet_calls.clear()
    again = case.cached(root, model)
    assert unet_calls == []
    assert again.entry.folder == first.entry.folder
    assert len(list_entries(root)) == 1


@pytest.mark.parametrize("masa_layer", [8, 12])
def test_a_cached_source_holds_what_is_recorded_in_memory(root: Path, model: DiffusionModel, masa_layer: int) -> None:
    case = Case(words=("bear",), masa_layer=masa_layer)
    cached = case.cached(root, model)
    generated, _ = case.source(model)
    tokens = find_words(model.pipe.tokenizer, case.prompt, case.words)
    with record_source(model.unet, masa_layer=case.masa_layer, object_tokens=tokens) as memory:
        walk = generated.begin()
        list(walk.steps)
    assert list(cached.layers) == list(memory.layers)
    assert list(cached.branches) == list(memory.branches)
    assert list(cached.timesteps) == list(memory.timesteps)
    assert list(cached.steps) == [1, 2]
    for step in cached.steps:
        ours, expected = cached.read(step), memory.read(step)
        assert ours.keys.keys() == expected.keys.keys()
        assert all(torch.equal(ours.keys[name], expected.keys[name]) for name in memory.layers)
        assert all(torch.equal(ours.values[name], expected.values[name]) for name in memory.layers)
        assert ours.object_map is not None
        assert expected.object_map is not None
        assert torch.equal(ours.object_map, expected.object_map)
        assert len(ours.early_maps) == max(0, 10 - masa_layer)
        assert ours.early_maps.keys() == expected.early_maps.keys()
        assert all(torch.equal(ours.early_maps[name], expected.early_maps[name]) for name in ours.early_maps)
    assert walk.final_latents is not None
    assert torch.equal(cached.latents, walk.final_latents)
    assert torch.equal(cached.initial_noise, walk.initial_noise)


@pytest.mark.parametrize("real", [False, True])
def test_only_a_source_with_maps_by_layer_has_another_name_than_before(
    root: Path, model: DiffusionModel, real: bool
) -> None:
    def index(masa_layer: int, *words: str) -> Any:
        return Case(words=words, masa_layer=masa_layer, real=real).cached(root, model).entry.index

    early, late, unmasked = index(8, "bear"), index(10, "bear"), index(8)
    assert early.determined_by["object_maps"] == "by layer"
    assert "object_maps" not in late.determined_by
    assert "object_maps" not in unmasked.determined_by
    maps = [{name for name in e.files["step-0001.safetensors"].tensors if "object_map" in name} for e in (early, late)]
    assert [len(names) for names in maps] == [3, 1]


GENERATED = Case(pose_seed=0)
REAL = Case(real=True)
CHANGES: list[tuple[Case, dict[str, Any]]] = [
    (GENERATED, {"prompt": "a panda"}),
    (GENERATED, {"negative": "blue"}),
    (GENERATED, {"seed": 6}),
    (GENERATED, {"size": (96, 64)}),
    (GENERATED, {"steps": 4}),
    (GENERATED, {"masa_step": 0}),
    (GENERATED, {"masa_layer": 11}),
    (GENERATED, {"scheduler": "euler"}),
    (GENERATED, {"guidance_scale": 4.5}),
    (GENERATED, {"words": ("bear",)}),
    (GENERATED, {"words": ("meadow",)}),
    (GENERATED, {"pose_seed": 1}),
    (GENERATED, {"pose_seed": None}),
    (GENERATED, {"network_scale": 0.5}),
    (REAL, {"picture_seed": 8}),
    (REAL, {"negative": "blue"}),
    (REAL, {"words": ("bear",)}),
    (REAL, {"steps": 4}),
]


def test_whatever_determines_a_source_makes_another_entry(
    root: Path, model: DiffusionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: dict[str, str] = {}

    class NamedError(Exception):
        """Raised with the fingerprint, before anything is computed."""

    def stop(_: Path, name: str) -> Any:
        raise NamedError(name)

    monkeypatch.setattr(module, "open_or_discard", stop)
    cases = [GENERATED, REAL] + [Case(**{**vars(base), **change}) for base, change in CHANGES]
    for case in [*cases, GENERATED]:
        with pytest.raises(NamedError) as named:
            case.cached(root, model)
        name = str(named.value)
        assert names.setdefault(name, repr(case)) == repr(case), "two different sources have one name"
    assert len(names) == len(cases), "the same source has two names"


def test_other_weights_make_another_entry(root: Path, model: DiffusionModel) -> None:
    Case().cached(root, model)
    with torch.no_grad():
        model.unet.conv_out.bias[0] += 1e-6
    Case().cached(root, model)
    assert len(list_entries(root)) == 2


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-4])


@pytest.mark.parametrize("damage", [flip_a_bit, cut, Path.unlink])
def test_a_damaged_entry_is_never_used_and_recorded_anew(
    root: Path, model: DiffusionModel, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    first = Case().cached(root, model)
    name = sorted(first.entry.folder.glob("*.safetensors"))[0].name
    whole = (first.entry.folder / name).read_bytes()
    damage(first.entry.folder / name)
    Case().cached(root, model)
    assert (first.entry.folder / name).read_bytes() == whole
    (line,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert line.startswith(f"cache entry {first.entry.folder.name} is damaged: {name} ")
    assert line.endswith("; it is recorded anew")
    assert [path.name for path in root.iterdir()] == [first.entry.folder.name]
    first.read(2)  # what another process holds open comes back with the same bytes


def test_an_entry_that_is_damaged_again_at_once_is_refused(
    root: Path, model: DiffusionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = CacheWriter.__exit__

    def on_a_bad_disk(self: CacheWriter, *error: Any) -> None:
        finish(self, *error)
        flip_a_bit(root / self.fingerprint / "source.safetensors")

    monkeypatch.setattr(CacheWriter, "__exit__", on_a_bad_disk)
    with pytest.raises(CacheDamaged, match=r"source\.safetensors has another checksum"):
        Case().cached(root, model)


@pytest.mark.parametrize(
    "case",
    [Case(), Case(real=True), Case(real=True, negative="blue"), Case(masa_layer=0, masa_step=0, size=(72, 104))],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_size_is_known_before_it_is_written(
    root: Path, model: DiffusionModel, case: Case, dtype: torch.dtype
) -> None:
    model.pipe.to(dtype)
    cached = case.cached(root, model)
    written = sum(
        tensor.nbytes for file in cached.entry.folder.glob("*.safetensors") for tensor in load_file(file).values()
    )
    source, branches = case.source(model)
    assert expected_bytes(model, source, len(branches), case.plan(model)) == pytest.approx(written, rel=0.01)


def test_no_space_is_told_before_anything_is_computed(
    root: Path, model: DiffusionModel, unet_calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "expected_bytes", lambda *_: 10**18)
    with pytest.raises(UserError, match="the cache needs"):
        Case().cached(root, model)
    assert unet_calls == []


def test_an_error_while_recording_leaves_nothing(root: Path, model: DiffusionModel) -> None:
    def fail(_: Any, args: Any, kwargs: Any) -> None:
        raise LookupError

    handle = model.unet.up_blocks[3].register_forward_pre_hook(fail, with_kwargs=True)
    with pytest.raises(LookupError):
        Case().cached(root, model)
    handle.remove()
    assert list(root.iterdir()) == []
    Case().cached(root, model)


@pytest.mark.parametrize("case", [Case(words=("bear",)), Case(real=True)])
def test_bfloat16_comes_back_as_it_was(root: Path, model: DiffusionModel, case: Case) -> None:
    model.pipe.to(torch.bfloat16)
    cached = case.cached(root, model)
    record = cached.read(2)
    assert {tensor.dtype for tensor in (*record.keys.values(), *record.values.values())} == {torch.bfloat16}
    assert cached.initial_noise.dtype == cached.latents.dtype == torch.bfloat16
    assert all(tensor.isfinite().all() for tensor in record.keys.values())


def test_another_dtype_makes_another_entry(root: Path, model: DiffusionModel) -> None:
    Case().cached(root, model)
    model.pipe.to(torch.bfloat16)
    Case().cached(root, model)
    assert len(list_entries(root)) == 2
