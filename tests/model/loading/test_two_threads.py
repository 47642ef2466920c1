"""Two threads that load at once get two whole models: their libraries, left alone, mix them up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.from_settings import model_from_settings
from masactrl_video.settings.presets import read_preset, resolve
from masactrl_video.storage.fingerprint import hash_module


def test_two_threads_load_the_demo_at_once() -> None:
    settings, both = resolve({**read_preset("demo"), "clip": "clip.mp4"}, {}), Barrier(2, timeout=60)

    def load(_: int) -> DiffusionModel:
        both.wait()
        return model_from_settings(settings)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(load, range(2))
    parts = [
        [model.denoiser, model.vae, model.pipe.text_encoder, *(network.module for network in model.networks)]
        for model in (first, second)
    ]
    assert [hash_module(part) for part in parts[0]] == [hash_module(part) for part in parts[1]]
    assert all(left is not right for left, right in zip(*parts, strict=True))
