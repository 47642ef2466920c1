"""What this machine has of what the package needs, and what to do about the rest. Nothing is loaded or downloaded."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

import masactrl_video
from masactrl_video.cache.manage import default_cache_root, list_entries
from masactrl_video.encode.container import names_of
from masactrl_video.engines.ray_cluster import Cluster, check_ray, connected, node_versions
from masactrl_video.errors import UserError, counted
from masactrl_video.model.gpu_driver import gpu_may_be_here
from masactrl_video.model.loading.installed import find_network, find_pipeline, find_pose_detector
from masactrl_video.plugins import plugin_names
from masactrl_video.settings.presets import DEFAULT_PRESET, preset_names, read_preset
from masactrl_video.video.ffmpeg_program import check_ffmpeg, ffmpeg_program
from masactrl_video.video.streams import READABLE_FORMATS

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    about: str
    state: State
    """`problem`: something will not work; `note`: it may not, if it is used."""
    found: str
    advice: str = ""


_PACKAGES = (
    *("torch", "torchvision", "diffusers", "transformers", "accelerate", "peft", "safetensors", "controlnet_aux"),
    *("opencv-python-headless", "decord2", "imageio-ffmpeg", "pillow", "numpy", "pydantic", "pyyaml", "tqdm"),
)
_IMPORTED = ("torchvision", "cv2", "decord", "diffusers.models", "transformers")
"""Libraries that can be installed and not work: of another build than torch, or two of them in one place."""
_FFMPEG_PARTS = {
    "encoders": {"libx264", "libvpx-vp9", "aac", "libopus", "gif"},
    "muxers": {"mp4", "mov", "matroska", "webm", "gif", "framecrc"},
    "bsfs": {"setts"},
    "demuxers": {"ivf", *READABLE_FORMATS.split(",")},
    "decoders": {"png", "h264", "hevc", "mpeg4", "vp8", "vp9", "av1", "gif", "mjpeg", "prores", "aac", "opus"},
}
"""What of ffmpeg we use, by the listing that names it."""
_FFMPEG_ALWAYS = {"encoder libx264", "muxer mp4", "muxer framecrc", "demuxer ivf", "demuxer mov", "decoder png"}
"""Without these nothing can be rendered, or no clip be read."""
_SAME_PLACE = (("opencv-python-headless", "opencv-python"), ("decord2", "decord"))
"""Packages that bring the same module: of two, one overwrites a part of the other."""
_TOGETHER = "install torch and torchvision together, in a new environment: pip install masactrl-video"
_LOW_DISK_BYTES = 10 * 10**9


def examine(preset: str | None = None, *, load: bool = False) -> list[Finding]:
    """Look at everything; the models of `preset` (`demo` when None) must be here, those of the others may be.

    Args:
        load: also load the libraries, which takes seconds; otherwise their versions are compared.

    Raises:
        UserError: there is no such preset.
    """
    needed = preset or DEFAULT_PRESET
    read_preset(needed)
    models = [finding for name in preset_names() for finding in _models(name, needed=name == needed)]
    return [*_versions(), *_libraries(load), *_devices(), *_ffmpeg(), *models, *_cache()]


def examine_ray(address: str | None = None) -> list[Finding]:
    """Look at Ray, and at the cluster at an address; without one, at what a run would start here."""
    try:
        check_ray()
        version = metadata.version("ray")
        if address is None:
            text = f"{version}; a run starts a cluster on this machine, with a worker for each GPU named above"
            return [Finding("ray", "ok", text)]
        with connected(address) as cluster:
            return [Finding("ray", "ok", f"{version}; {cluster.describe()}"), *_nodes(cluster)]
    except UserError as error:
        what, _, advice = str(error).removeprefix("engine ray: ").partition("; ")
        return [Finding("ray", "problem", what, advice)]


def _nodes(cluster: Cluster) -> Iterator[Finding]:
    there = node_versions(cluster)
    for node in cluster.nodes():
        about, found = f"node {node.name}", there.get(node.name, {})
        text = f"{node.cpus:g} CPUs, {node.gpus:g} GPUs, object store {_size(node.store_bytes)}"
        if not found:
            yield Finding(about, "problem", f"{text}; it does not answer", "see that it runs Python of this version")
        elif found["masactrl-video"] != masactrl_video.__version__:
            own = found["masactrl-video"] or "not installed"
            advice = f"install masactrl-video {masactrl_video.__version__} on every node"
            yield Finding(about, "problem", f"{text}; masactrl-video: {own}", advice)
        else:
            yield Finding(about, "ok", f"{text}, Python {found['python']}")


def _versions() -> Iterator[Finding]:
    yield Finding("masactrl-video", "ok", f"{masactrl_video.__version__}, Python {platform.python_version()}")
    for name in _PACKAGES:
        try:
            yield Finding(name, "ok", metadata.version(name))
        except metadata.PackageNotFoundError:
            other = _stands_in(name)
            if other:
                yield Finding(name, "note", f"{other} stands in for it")
            else:
                yield Finding(name, "problem", "not installed", f"pip install {name}")


def _stands_in(name: str) -> str | None:
    for other in {"opencv-python-headless": ("opencv-python",), "decord2": ("decord",)}.get(name, ()):
        try:
            return f"{other} {metadata.version(other)}"
        except metadata.PackageNotFoundError:
            continue
    return None


def _libraries(load: bool) -> Iterator[Finding]:
    wrong = [*_that_do_not_go_together(), *_in_one_place()]
    wrong += [
        Finding(f"import {name}", "problem", "its files are not there", _TOGETHER)
        for name in _IMPORTED
        if importlib.util.find_spec(name.partition(".")[0]) is None
    ]
    yield from wrong
    if not load:
        if not wrong:
            yield Finding("libraries", "ok", "their versions go together; `doctor --load` sees whether they load too")
        return
    for name in _IMPORTED:
        try:
            importlib.import_module(name)
        except Exception as error:  # a library of another build fails with whatever it likes
            yield Finding(f"import {name}", "problem", f"{type(error).__name__}: {str(error)[:200]}", _TOGETHER)


def _that_do_not_go_together() -> Iterator[Finding]:
    """Packages that ask for another version of one of ours than is here, as `pip check` finds them."""
    here = {name: found for name in _PACKAGES if (found := _version(name)) is not None}
    for name in here:
        for asked in map(Requirement, metadata.requires(name) or ()):
            found = here.get(asked.name)
            applies = asked.marker is None or asked.marker.evaluate({"extra": ""})
            if found is not None and applies and not asked.specifier.contains(found, prereleases=True):
                yield Finding(
                    f"import {name}", "problem", f"it needs {asked.name}{asked.specifier}, not {found}", _TOGETHER
                )
    builds = {name: here[name].partition("+")[2] for name in ("torch", "torchvision") if name in here}
    if len(set(builds.values())) > 1:
        text = " beside ".join(f"{name} {here[name]}" for name in builds)
        yield Finding("import torchvision", "problem", f"two builds: {text}", _TOGETHER)


def _in_one_place() -> Iterator[Finding]:
    for names in _SAME_PLACE:
        if all(_version(name) for name in names):
            found = f"{' and '.join(names)} bring the same module, and overwrite each other"
            yield Finding(
                f"import {names[0]}", "problem", found, f"pip uninstall {' '.join(names)}; pip install {names[0]}"
            )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> Iterator[Finding]:
    if gpu_may_be_here():
        yield from _gpus()
    else:
        text = "no driver of a GPU that torch can use is here: a frame takes minutes with a real model"
        yield Finding("device", "note", text, "where there is a GPU, install its driver")
    memory = f", {_size(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'))}" if hasattr(os, "sysconf") else ""
    yield Finding("device cpu", "ok", f"{os.cpu_count()} cores{memory}")


def _gpus() -> Iterator[Finding]:
    import torch  # the one library that knows whether it can use them

    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        text = f"{torch.cuda.get_device_name(index)}, {_size(total)}, {_size(free)} free"
        yield Finding(f"device cuda:{index}", "ok", text)
    if torch.backends.mps.is_available():
        yield Finding("device mps", "ok", "Apple's GPU, which shares the memory below")
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        advice = (
            "" if torch.version.cuda is None else "where there is one, see that its driver is as new as torch's CUDA"
        )
        yield Finding("device", "note", "no GPU that torch can use: a frame takes minutes with a real model", advice)


def _ffmpeg() -> Iterator[Finding]:
    try:
        version, program = check_ffmpeg(), ffmpeg_program()
        lacking = {kind: sorted(names - names_of(kind)) for kind, names in _FFMPEG_PARTS.items()}
    except UserError as error:
        what, _, advice = str(error).removeprefix("ffmpeg: ").partition("; ")
        yield Finding("ffmpeg", "problem", what, advice)
        return
    missing = [f"{kind.removesuffix('s')} {name}" for kind, names in lacking.items() for name in names]
    state: State = "problem" if _FFMPEG_ALWAYS.intersection(missing) else "note" if missing else "ok"
    text = f"{version} in {program}" + (f", without {', '.join(missing)}" if missing else "")
    advice = "unset IMAGEIO_FFMPEG_EXE to use the one that imageio-ffmpeg brings" if missing else ""
    yield Finding("ffmpeg", state, text, advice)


def _models(preset: str, needed: bool) -> Iterator[Finding]:
    values = read_preset(preset)
    marks = {"variant": values.get("variant"), "revision": values.get("revision")}
    yield _file(preset, needed, values["model"], lambda: find_pipeline(values["model"], **marks))
    for name in values.get("guidance", []):
        yield _network(preset, needed, values["controls"][name])
    if (detector := values.get("pose_detector")) and detector not in plugin_names("pose_detectors"):
        yield _file(preset, needed, detector, lambda: find_pose_detector(detector))


def _network(preset: str, needed: bool, control: dict[str, Any]) -> Finding:
    name, kind = control["model"], control["adapter"]
    marks = {"variant": control.get("variant"), "revision": control.get("revision")}
    return _file(preset, needed, name, lambda: find_network(name, kind, **marks))


def _file(preset: str, needed: bool, name: str, find: Callable[[], Path]) -> Finding:
    try:
        return Finding(f"preset {preset}", "ok", f"{name} is in {find()}")
    except UserError as error:
        what, _, advice = str(error).partition("; ")
        return Finding(f"preset {preset}", "problem" if needed else "note", what, advice)


def _cache() -> Iterator[Finding]:
    root = default_cache_root()
    try:
        entries = list_entries(root)
    except (UserError, OSError) as error:
        yield Finding("cache", "problem", str(error), "set MASACTRL_VIDEO_CACHE to a folder that may be written")
        return
    damaged = sum(entry.problem is not None for entry in entries)
    text = f"{root}: {counted(len(entries), 'source')}, {_size(sum(entry.bytes for entry in entries))}"
    text += f", {damaged} that cannot be used" if damaged else ""
    yield Finding("cache", "note" if damaged else "ok", text, "masactrl-video cache list" if damaged else "")
    free = shutil.disk_usage(next(place for place in (root, *root.parents) if place.exists())).free
    low = free < _LOW_DISK_BYTES
    advice = "make room: masactrl-video cache prune; an SDXL source can take 15 GB" if low else ""
    yield Finding("disk", "note" if low else "ok", f"{_size(free)} free where the cache is", advice)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
