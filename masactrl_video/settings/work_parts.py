"""How the work is done, and what is written."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from pydantic import ByteSize, TypeAdapter, ValidationError, field_validator

from masactrl_video.settings.fields import COMICS, DECODE, DENOISE, SPRITES, VIDEOS, Part, option
from masactrl_video.settings.home import OwnName, OwnPath
from masactrl_video.settings.inactive import KEPT_LIVE, MASKED, NO_UNCONDITIONAL, NO_VAE
from masactrl_video.settings.names import CacheDtype, SourceStorage

_storage = partial(option, "work", changes="speed", commands=DENOISE)
_batching = partial(option, "work", changes="speed", commands=VIDEOS | SPRITES)
_faster = partial(option, "speed", changes="source", commands=DECODE)
_encoding = partial(option, "output", changes="file", commands=VIDEOS | {"guidance", "encode"})


class WorkSettings(Part):
    """Batches, memory, and where things are kept."""

    batch_size: int | None = _batching(
        "frames that go through the model together; auto: as many as the GPU's memory holds (on a CPU 4)",
        4,
        changes="frames",
        keeps_panels=True,
        also=("auto",),
        ge=1,
    )
    chunk_frames: int = _batching(
        "frames in memory at a time; the cache is read once for each chunk", 32, keeps_panels=True, ge=1
    )
    cache_dir: OwnPath = _storage(
        "cache of recorded sources (~/.cache/masactrl-video if not given)", None, keeps_panels=True
    )
    cache_quota: ByteSize | Literal["auto", "none"] = _storage(
        "how large the cache may become, e.g. 20GiB; auto: 100 GB, or less, half of what the disk has for it; "
        "none: no limit; the longest unused sources go first, never one that is in use, or that an unfinished run or a "
        "saved character needs",
        "auto",
    )
    cache_dtype: CacheDtype = _storage(
        "how recorded keys and values are stored: exact (the model's number format), or smaller and not exact "
        "(float8 and int8: with a scale for each channel); the report tells the error and the size",
        "exact",
        changes="source",
        inactive=(KEPT_LIVE,),
    )
    source_storage: SourceStorage = _batching(
        "a clip's source: cache (recorded on the disk), live (made again beside the frames of each chunk_frames), or "
        "auto (live where it would be larger than cache_quota)",
        "auto",
        keeps_panels=True,
    )
    characters_dir: OwnPath = _storage(
        "saved characters (~/.local/share/masactrl-video/characters if not given)", None, keeps_panels=True
    )

    @field_validator("batch_size", mode="before")
    @classmethod
    def _size_by_itself(cls, value: Any) -> Any:
        if isinstance(value, str) and not value.lstrip("-").isdigit() and value != "auto":
            raise ValueError("give a number of frames, or auto")
        return None if value == "auto" else value

    @field_validator("cache_quota", mode="before")
    @classmethod
    def _quota_is_a_size(cls, value: Any) -> Any:
        """Configurations of earlier runs have null for no limit."""
        if value in (None, "auto", "none"):
            return value or "none"
        try:
            size_bytes = TypeAdapter(ByteSize).validate_python(value)
        except ValidationError as error:
            raise ValueError("write a number and a unit, such as 20GiB; auto; or none") from error
        if size_bytes <= 0:
            raise ValueError("give more than 0, or none for no limit")
        return size_bytes


class SpeedSettings(Part):
    """What makes frames cheaper."""

    cache_memory: ByteSize = option(
        "speed",
        "a recorded source that fits into this, e.g. 8GiB, is held in memory for the later chunks; any other is read "
        "again for each chunk, one step ahead of the model",
        ByteSize(0),
        changes="speed",
        commands=VIDEOS,
        inactive=(KEPT_LIVE,),
        ge=0,
    )
    skip_uncond: float = option(
        "speed",
        "part of the denoising steps, the last ones, that are done without the unconditional branch: at half the work, "
        "not exact; 0: none",
        0.0,
        changes="frames",
        commands=VIDEOS,
        inactive=(NO_UNCONDITIONAL,),
        ge=0,
        lt=1,
    )
    reuse_deep_features: int | None = _faster(
        "Stable Diffusion: run the whole UNet at every n-th denoising step only, at the others its outermost blocks "
        "around the same deep features (DeepCache): not exact",
        None,
        changes="frames",
        commands=DECODE - COMICS - {"compare"},
        ge=2,
    )
    channels_last: bool = _faster(
        "channels_last memory format: exact but for the last digits; made for GPUs with float16", False
    )
    compile: bool = _faster(
        "torch.compile for UNet or transformer and guidance networks: exact but for the last digits; takes minutes "
        "before the first frame, and again for another size of a batch; made for GPUs",
        False,
    )
    taesd: OwnName = _faster(
        "hub id or folder of a tiny autoencoder (TAESD) that decodes instead of the model's own: for previews, not "
        "exact; a real source is still encoded by the model's own",
        None,
        changes="frames",
    )
    vae_tiling: bool = _faster(
        "decode pictures that are larger than the model's own size in tiles: less memory, not exact where tiles meet",
        False,
        inactive=(NO_VAE,),
    )


class OutputSettings(Part):
    """The video that is written."""

    audio: bool = _encoding("keep the clip's sound", True, commands=VIDEOS | {"encode"})
    codec: str | None = _encoding("ffmpeg's encoder (H.264, in WebM VP9, if not given)", None)
    pix_fmt: str = _encoding("pixel format of the video", "yuv420p")
    crf: int = _encoding("quality, lower is better", 17, ge=0, le=63)
    side_by_side: bool = _encoding("also a video of clip, guidance and result", True, commands=VIDEOS)
    save_masks: bool = _encoding(
        "masked mode: also write the masks", False, changes="frames", commands=VIDEOS, only=MASKED
    )
