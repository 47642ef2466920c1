"""Figures of networks: VBench's formula on the same vectors, and tiny real networks from a folder."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from measure.made_frames import measured, moments_of, noisy, plain, texture
from torch.nn import functional

from masactrl_video.errors import UserError
from masactrl_video.measure.figure import Floats
from masactrl_video.measure.flow import RaftFlow
from masactrl_video.measure.learned import SUBJECT, Consistency, KeptPerceptually, ToSource, unit
from masactrl_video.measure.moments import Mask, Picture
from masactrl_video.measure.networks import open_clip, open_dino, open_dreamsim, open_lpips


def vbench_consistency(features: torch.Tensor) -> float:
    """The published loop, for one clip."""
    video_sim, first, former = 0.0, features[:1], features[:1]
    for i in range(len(features)):
        image = functional.normalize(features[i : i + 1], dim=-1, p=2)
        if i == 0:
            first = image
        else:
            sim_pre = max(0.0, functional.cosine_similarity(former, image).item())
            sim_fir = max(0.0, functional.cosine_similarity(first, image).item())
            video_sim += (sim_pre + sim_fir) / 2
        former = image
    return video_sim / (len(features) - 1)


def test_consistency_is_vbenchs_on_the_same_vectors() -> None:
    vectors = np.random.default_rng(0).normal(0.2, 1, (6, 5))
    left: Iterator[Floats] = iter([unit(vector) for vector in vectors])
    text = unit(vectors[0])
    meter = Consistency(SUBJECT, lambda picture: next(left), "known", neighbours=True, text=text)
    found = measured(meter, moments_of([plain(0)] * 6))
    assert found["subject-consistency"].value == pytest.approx(vbench_consistency(torch.from_numpy(vectors)), abs=1e-9)
    whole = np.stack([unit(vector) for vector in vectors])
    assert found["clip-frames"].value == pytest.approx((whole[:-1] * whole[1:]).sum(axis=1).mean(), abs=1e-12)
    assert found["clip-text"].value == pytest.approx((whole @ text).mean(), abs=1e-12)


def test_perceptual_distances_see_what_they_are_to() -> None:
    def difference(one: Picture, other: Picture) -> float:
        return float(np.abs(one.astype(float) - other).mean())

    mask: Mask = np.zeros((32, 32), bool)
    mask[:8] = True
    moments = moments_of([plain(30)], [plain(10)], mask)
    assert measured(KeptPerceptually(difference, "known"), moments)["kept-lpips"].value == 20 * 0.75
    assert measured(ToSource(difference, plain(30)), moments)["dreamsim"].value == 30 * 0.75


def test_perceptual_distances_are_nothing_for_the_same_and_grow_with_what_is_changed() -> None:
    """With a small convolution in the network's place: its weights are another question than the figure."""
    weights = torch.from_numpy(np.random.default_rng(3).normal(size=(8, 3, 5, 5))).float()

    def features(picture: Picture) -> torch.Tensor:
        return functional.conv2d(torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None], weights)

    def distance(one: Picture, other: Picture) -> float:
        return float((features(one) - features(other)).square().mean())

    original = texture(32, 32)
    kept, to_source = [], []
    for strength in (0.0, 4.0, 12.0, 30.0):
        frames = [noisy(original, strength, seed=1)] * 3
        kept.append(measured(KeptPerceptually(distance, "small"), moments_of(frames, [original] * 3)))
        to_source.append(measured(ToSource(distance, original), moments_of(frames)))
    for found in ([one["kept-lpips"].value for one in kept], [one["dreamsim"].value for one in to_source]):
        assert found[0] == 0
        assert found == sorted(set(found))


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8
    )
    folder = tmp_path_factory.mktemp("dino")
    ViTModel(config).save_pretrained(folder)
    return folder


def test_dino_of_a_folder_is_asked_as_vbench_asks_it(dino: Path) -> None:
    from torchvision.transforms import Compose, Lambda, Normalize, Resize
    from transformers import ViTModel

    picture = texture(40, 60)
    transform = Compose(
        [
            Resize(32, antialias=False),
            Lambda(lambda x: x.float().div(255.0)),
            Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    model = ViTModel.from_pretrained(dino).eval()
    with torch.inference_mode():
        pixels = transform(torch.from_numpy(picture).permute(2, 0, 1)[None].float())
        expected = model(pixels, interpolate_pos_encoding=True).last_hidden_state[0, 0].double().numpy()
    found = open_dino(str(dino), "cpu")(picture)
    assert found == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)


def test_clip_of_a_folder_has_vectors_of_pictures_and_texts(tmp_path: Path) -> None:
    from tiny_models import TOKENIZER
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**small, "vocab_size": len(tokenizer), "max_position_embeddings": tokenizer.model_max_length},
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    CLIPModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    embed, embed_text = open_clip(str(tmp_path), "cpu")
    for vector in (embed(texture(40, 60)), embed_text("a bear")):
        assert vector.shape == (8,)
        assert np.linalg.norm(vector) == pytest.approx(1)
    meter = Consistency(SUBJECT, embed, "tiny")
    assert measured(meter, moments_of([texture()] * 3))["subject-consistency"].value == pytest.approx(1, abs=1e-6)
    changed = measured(
        Consistency(SUBJECT, embed, "tiny"), moments_of([texture(), noisy(texture(), 60, 1), texture(seed=9)])
    )
    assert changed["subject-consistency"].value < 1 - 1e-6


def test_networks_that_cannot_be_had_are_said_in_one_line(tmp_path: Path, dino: Path) -> None:
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "config.json").write_bytes((dino / "config.json").read_bytes())
    torch.save({}, tmp_path / "pickled" / "pytorch_model.bin")
    for name in ("pickled", "none"):
        with pytest.raises(UserError, match=rf"--dino: .*{name} cannot be loaded .*model.safetensors"):
            open_dino(str(tmp_path / name), "cpu")


def test_metrics_packages_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    monkeypatch.setitem(sys.modules, "dreamsim", None)
    with pytest.raises(UserError, match=r"--lpips needs the package lpips .*pip install 'masactrl-video\[measure\]'"):
        open_lpips(tmp_path / "none", "cpu")
    with pytest.raises(UserError, match="--dreamsim needs the package dreamsim"):
        open_dreamsim(tmp_path, "cpu")


def test_raft_of_a_file_gives_a_flow_of_the_pictures_size(tmp_path: Path) -> None:
    from safetensors.torch import save_file
    from torchvision.models.optical_flow import raft_small

    torch.manual_seed(0)
    save_file(raft_small(weights=None).state_dict(), tmp_path / "raft.safetensors")
    find_flow = RaftFlow(tmp_path / "raft.safetensors")
    assert find_flow.about == "raft_small of torchvision"
    assert find_flow(texture(44, 60), texture(44, 60, seed=1)).shape == (44, 60, 2)
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="holds neither torchvision's raft_large nor its raft_small"):
        RaftFlow(tmp_path / "other.safetensors")


def test_lpips_with_weights_of_a_file_is_the_packages(tmp_path: Path) -> None:
    lpips = pytest.importorskip("lpips")
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = lpips.LPIPS(net="squeeze", pretrained=False, pnet_rand=True, verbose=False)
    save_file({name: value.clone() for name, value in model.state_dict().items()}, tmp_path / "lpips.safetensors")
    distance, net = open_lpips(tmp_path / "lpips.safetensors", "cpu")
    one, other = texture(64, 64), texture(64, 64, seed=3)
    assert net == "squeeze"
    assert distance(one, one) == 0
    pair = [torch.from_numpy(p).permute(2, 0, 1)[None] / 127.5 - 1 for p in (one, other)]
    with torch.inference_mode():
        assert distance(one, other) == pytest.approx(float(model(*pair)), abs=1e-6)
    (tmp_path / "other.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with pytest.raises(UserError, match="holds no LPIPS of alex, squeeze or vgg"):
        open_lpips(tmp_path / "other.safetensors", "cpu")


def test_dreamsim_is_not_downloaded(tmp_path: Path) -> None:
    pytest.importorskip("dreamsim")
    with pytest.raises(UserError, match=r"has no dino_vitb16_pretrain\.pth; give the folder"):
        open_dreamsim(tmp_path, "cpu")


def test_dreamsim_is_asked_with_weights_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str | None, str]] = []

    def dreamsim(pretrained: bool, device: str, cache_dir: str) -> tuple[object, object]:
        asked.append((os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD"), cache_dir))
        return (lambda one, other: (one - other).abs().mean()), (
            lambda image: torch.from_numpy(np.array(image)).float()
        )

    monkeypatch.setitem(sys.modules, "dreamsim", SimpleNamespace(dreamsim=dreamsim))
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    names = ("dino_vitb16_pretrain.pth", "clip_vitb16_pretrain.pth.tar", "open_clip_vitb16_pretrain.pth.tar")
    for name in (*names, "ensemble_lora"):
        (tmp_path / name).touch()
    distance = open_dreamsim(tmp_path, "cpu")
    assert asked == [("1", str(tmp_path))]
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
    assert distance(plain(10), plain(30)) == 20
