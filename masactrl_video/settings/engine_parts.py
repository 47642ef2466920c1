"""Where frames are rendered: in this process, or by workers of a cluster."""

from __future__ import annotations

from functools import partial
from typing import Literal

from masactrl_video.settings.fields import ON_ENGINES, Part, option
from masactrl_video.settings.home import OwnPath
from masactrl_video.settings.inactive import ON_RAY

_engine = partial(option, "engine", changes="speed", commands=ON_ENGINES, keeps_panels=True)


class EngineSettings(Part):
    """Who renders the frames. The same batches come out with the same bits on the same kind of device."""

    engine: Literal["local", "ray"] = _engine(
        "local: this process renders the frames; ray: workers that Ray runs do, on all GPUs of this machine or of a "
        "cluster; needs pip install 'masactrl-video[ray]'",
        "local",
    )
    ray_address: str | None = _engine(
        "a cluster that runs already: auto, or HOST:PORT; without it, one on this machine is started for the run",
        None,
        only=ON_RAY,
    )
    workers: int | None = _engine(
        "how many workers; those for which there is no room yet begin when a node joins; if not given: one for each "
        "GPU, or without GPUs one for each node, and more as nodes join",
        None,
        only=ON_RAY,
        ge=1,
    )
    gpus_per_worker: float | None = _engine(
        "GPUs of each worker, or a part of one, such as 0.5; if not given: 1 where this run's device is a GPU, else 0",
        None,
        only=ON_RAY,
        ge=0,
    )
    storage: OwnPath = _engine(
        "a folder that all nodes see under the same path; what lies in it, such as the cache and the output, is not "
        "sent through the cluster",
        None,
        only=ON_RAY,
    )
