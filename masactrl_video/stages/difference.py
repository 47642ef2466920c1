"""What differs between the settings of two runs, for the user to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NOT_IN_FRAMES = (
    "chunk_frames",
    "cache_dir",
    "cache_quota",
    "cache_memory",
    "offload",
    "characters_dir",
    "audio",
    "codec",
    "pix_fmt",
    "crf",
    "side_by_side",
    "allow_partial",
)
"""Settings that change no pixel: an interrupted run may go on with others.

With `allow_partial` there are fewer frames, but those are the same: it is what a run is advised that met damage."""


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`name: old -> new` for every setting that determines the frames and is not as it was."""
    return [
        line for name in now if name not in _NOT_IN_FRAMES for line in _changed(name, before.get(name), now.get(name))
    ]


def _changed(name: str, before: Any, now: Any) -> list[str]:
    if before == now:
        return []
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = dict.fromkeys([*before, *now])
        return [line for key in keys for line in _changed(f"{name}.{key}", before.get(key), now.get(key))]
    return [f"{name}: {_text(before)} -> {_text(now)}"]


def _text(value: Any) -> str:
    return "not set" if value is None else repr(value)
