"""Everything that determines a rendered video, as one flat, frozen record.

The names are those of the YAML keys and, with dashes, of the command line's flags; the descriptions are their help.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from masactrl_video.settings.agreement import check_guidance, check_masks, check_source, check_speed
from masactrl_video.settings.control import Control
from masactrl_video.settings.home import MAY_BE_AT_HOME, OwnName, OwnPath
from masactrl_video.settings.names import (
    CacheDtype,
    DtypeName,
    FitMode,
    Mode,
    NoiseKind,
    OffloadKind,
    PredictionType,
    SchedulerName,
)
from masactrl_video.storage.text import encodable


def option(group: str, help: str, default: Any = ..., **limits: Any) -> Any:
    """A setting with its help text and the group under which the command line lists it."""
    return Field(default=default, description=help, json_schema_extra={"group": group}, **limits)


ONLY_MASKED = ("mask_words", "source_mask_words", "source_mask", "target_masks", "source_caption", "save_masks")


class Settings(BaseModel):
    """Resolved settings of a render."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    clip: Annotated[Path, MAY_BE_AT_HOME] = option(
        "clip", "video (MP4, MOV, MKV, WebM, AVI, MPEG-TS, GIF, …), folder of images, or pose JSON"
    )
    skip_first_frames: int = option("clip", "frames left out at the start", 0, ge=0)
    select_every_nth: int = option("clip", "take every n-th frame; the duration stays", 1, ge=1)
    frame_load_cap: int | None = option("clip", "take at most this many frames", None, ge=1)
    frame_rate: float | None = option("clip", "frames a second of images or pose JSON (24 if not given)", None, gt=0)
    video_stream: int | None = option(
        "clip", "of a video with several streams take this one, from 0 (if not given, the default one)", None, ge=0
    )
    allow_partial: bool = option("clip", "of a damaged video or folder, render what is before the damage", False)
    fit: FitMode = option(
        "clip",
        "how frames get the model's size: crop (scale to cover, cut both sides alike), pad (scale to fit inside, black "
        "bars) or resize (stretch)",
        "crop",
    )
    width: int | None = option(
        "clip", "width in px; without width and height: the clip's shape, the model's area", None, ge=1
    )
    height: int | None = option("clip", "height in px", None, ge=1)

    guidance: list[str] = option("guidance", "names of the controls in use, e.g. pose canny", ["canny"])
    controls: dict[str, Control] = option("guidance", "ControlNets and T2I-Adapters to choose from, by name", {})
    guidance_video: Annotated[dict[str, Path], MAY_BE_AT_HOME] = option(
        "guidance", "ready-made guidance instead of extraction, KIND=VIDEO_OR_FOLDER (repeatable)", {}
    )
    pose_detector: OwnName = option(
        "guidance",
        "hub id or folder of controlnet_aux's OpenPose weights, an 18-point OpenPose network (.onnx), or "
        "demo/keypoints for the cartoon world",
        None,
    )
    pose_threshold: float | None = option(
        "guidance",
        "confidence from which the detector takes what it sees for a person (if not given its own: 0.28 for an .onnx "
        "network, 0.2 for demo/keypoints); lower finds more people, and more that are none",
        None,
        ge=0,
        le=1,
    )
    pose_json: OwnPath = option(
        "guidance",
        "pose JSON of OpenPose, ControlNet, COCO or MMPose (a list, or a folder with a file a frame)",
        None,
    )
    fill_missing_poses: bool = option("guidance", "frames without a person take their neighbours' pose", False)
    pose_canvas: str | None = option(
        "guidance", "WIDTHxHEIGHT in px of pose JSON that names no canvas", None, pattern=r"^[1-9]\d{0,4}x[1-9]\d{0,4}$"
    )
    pose_confidence: float = option("guidance", "keypoints below this confidence count as missing", 0.0, ge=0, le=1)
    person: str | None = option(
        "guidance",
        "draw only one of several people: 0, 1, … by appearance, or largest",
        None,
        pattern=r"^(\d{1,6}|largest)$",
    )
    fill_pose_gaps: int = option(
        "guidance", "keypoints missing for at most this many frames are interpolated over time", 0, ge=0
    )
    smooth_poses: int | None = option(
        "guidance", "window in frames (odd, from 5) of a filter that smooths poses over time", None, ge=5
    )
    retarget: OwnPath = option(
        "guidance", "give the poses the bone lengths of this body: pose JSON, or a picture (with pose_detector)", None
    )
    retarget_foreshortening: bool = option(
        "guidance", "retarget: bones keep their share of their full length in each frame", False
    )
    canny_low_threshold: int = option("guidance", "lower threshold of the edge detector", 100, ge=0)
    canny_high_threshold: int = option("guidance", "upper threshold of the edge detector", 200, ge=0)

    model: Annotated[str, MAY_BE_AT_HOME] = option(
        "model", "hub id, diffusers folder, or one .safetensors file; `demo` ships with the package"
    )
    revision: str | None = option("model", "branch, tag or commit on the hub", None)
    variant: str | None = option("model", "variant of the weight files, e.g. fp16", None)
    single_file_config: OwnName = option(
        "model", "for a .safetensors file: hub id or folder with its configuration and tokenizer", None
    )
    dtype: DtypeName | None = option("model", "number format (float16 on a GPU, float32 elsewhere, if not given)", None)
    device: str | None = option("model", "cuda, mps or cpu (the first that there is, if not given)", None)
    offload: OffloadKind | None = option(
        "model",
        "for a small GPU: weights wait in the CPU's memory. model: text encoders, UNet with guidance networks, and VAE "
        "come one after the other; sequential: layer by layer, much slower",
        None,
    )
    lora: Annotated[dict[str, float], MAY_BE_AT_HOME] = option("model", "LoRA files, FILE=SCALE (1 if not given)", {})
    prediction_type: PredictionType | None = option(
        "model",
        "what the model predicts, where its files do not say it, or wrongly: epsilon (most), v_prediction (SD-2.x of "
        "768 px, models called vpred) or sample",
        None,
    )
    scheduler: SchedulerName = option("model", "sampler; ddim as in the paper", "ddim")

    prompt: str = option("prompt", "what the frames show", "")
    negative_prompt: str = option("prompt", "what they should not show", "")
    num_inference_steps: int = option("prompt", "denoising steps", 50, ge=1)
    guidance_scale: float = option("prompt", "classifier-free guidance; 1 or less: none", 7.5, ge=0)
    seed: int = option("prompt", "of the initial noise", 0, ge=0, lt=2**32)
    noise: NoiseKind = option("prompt", "initial noise: the source's for all frames, or another for each", "shared")

    source: Literal["generate", "clip"] = option(
        "source", "generate the source from a prompt, or invert the clip's own frame", "generate"
    )
    source_frame: int = option(
        "source", "frame (of those taken, from 0) whose guidance or picture is the source's", 0, ge=0
    )
    source_image: OwnPath = option("source", "invert this picture as the source", None)
    source_prompt: str | None = option(
        "source", "prompt of the source (the prompt if generated, empty if inverted, when not given)", None
    )
    character: str | None = option(
        "source", "a saved character is the source (masactrl-video source make); its recipe must fit the model", None
    )
    source_caption: str | None = option(
        "source", "masked mode, inverted source: a caption that names the object (the prompt if not given)", None
    )

    masa_step: int = option("attention", "S: denoising step from which the source's keys and values are used", 4, ge=0)
    masa_layer: int = option("attention", "L: self-attention layer (forward order) from which they are used", 10, ge=0)
    masa_steps: list[int] | None = option("attention", "explicit steps instead of S", None)
    masa_layers: list[str] | None = option("attention", "explicit layers instead of L: numbers or names", None)
    attention_mode: Mode = option(
        "attention",
        "source: the source's keys only (the paper); union: the frame's own too; masked: figure to figure, ground to "
        "ground",
        "source",
    )
    mask_words: list[str] = option("attention", "masked mode: words of the object in the prompt", [])
    source_mask_words: list[str] | None = option("attention", "its words in the source's prompt, if others", None)
    source_mask: OwnPath = option("attention", "masked mode: picture, white where the source's object is", None)
    target_masks: OwnPath = option(
        "attention", "masked mode: video or folder, white where each frame's object is", None
    )
    mask_threshold: float = option(
        "attention", "normalised attention from which a pixel is the object's", 0.1, ge=0, le=1
    )
    mask_grid_divisor: int = option("attention", "masks come from cross-attention at latent side / this", 4, ge=1)

    batch_size: int | None = option(
        "work",
        "frames that go through the model together; auto: as many as the GPU's memory holds (on a CPU 4)",
        4,
        ge=1,
    )
    chunk_frames: int = option("work", "frames in memory at a time; the cache is read once for each chunk", 32, ge=1)
    cache_dir: OwnPath = option("work", "cache of recorded sources (~/.cache/masactrl-video if not given)", None)
    cache_quota: ByteSize | Literal["auto", "none"] = option(
        "work",
        "how large the cache may become, e.g. 20GiB; auto: 100 GB, or less, half of what the disk has for it; "
        "none: no limit; the longest unused sources go first, never one that is in use, or that an unfinished run or a "
        "saved character needs",
        "auto",
    )

    cache_dtype: CacheDtype = option(
        "work",
        "how recorded keys and values are stored: exact (the model's number format), or smaller and not exact "
        "(float8 and int8: with a scale for each channel); the report tells the error and the size",
        "exact",
    )

    characters_dir: OwnPath = option(
        "work", "saved characters (~/.local/share/masactrl-video/characters if not given)", None
    )

    cache_memory: ByteSize = option(
        "speed",
        "a recorded source that fits into this, e.g. 8GiB, is held in memory for the later chunks; any other is read "
        "again for each chunk, one step ahead of the model",
        ByteSize(0),
        ge=0,
    )
    skip_uncond: float = option(
        "speed",
        "part of the denoising steps, the last ones, that are done without the unconditional branch: at half the work, "
        "not exact; 0: none",
        0.0,
        ge=0,
        lt=1,
    )
    reuse_deep_features: int | None = option(
        "speed",
        "run the whole UNet at every n-th denoising step only, at the others its outermost blocks around the same deep "
        "features (DeepCache): not exact",
        None,
        ge=2,
    )
    channels_last: bool = option(
        "speed", "channels_last memory format: exact but for the last digits; made for GPUs with float16", False
    )
    compile: bool = option(
        "speed",
        "torch.compile for UNet and guidance networks: exact but for the last digits; takes minutes before the first "
        "frame, and again for another size of a batch; made for GPUs",
        False,
    )
    taesd: OwnName = option(
        "speed",
        "hub id or folder of a tiny autoencoder (TAESD) that decodes instead of the model's own: for previews, not "
        "exact; a real source is still encoded by the model's own",
        None,
    )
    vae_tiling: bool = option(
        "speed",
        "decode pictures that are larger than the model's own size in tiles: less memory, not exact where tiles meet",
        False,
    )

    audio: bool = option("output", "keep the clip's sound", True)
    codec: str | None = option("output", "ffmpeg's encoder (H.264, in WebM VP9, if not given)", None)
    pix_fmt: str = option("output", "pixel format of the video", "yuv420p")
    crf: int = option("output", "quality, lower is better", 17, ge=0, le=63)
    side_by_side: bool = option("output", "also a video of clip, guidance and result", True)
    save_masks: bool = option("output", "masked mode: also write the masks", False)

    @field_validator("batch_size", mode="before")
    @classmethod
    def _size_by_itself(cls, value: Any) -> Any:
        if isinstance(value, str) and not value.lstrip("-").isdigit() and value != "auto":
            raise ValueError("give a number of frames, or auto")
        return None if value == "auto" else value

    @field_validator("prompt", "negative_prompt", "source_prompt", "source_caption")
    @classmethod
    def _has_letters_only(cls, text: str | None) -> str | None:
        if text is not None and encodable(text) != text:
            raise ValueError("it holds bytes that are no letters in UTF-8, which is wanted")
        return text

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

    @field_validator("person", mode="before")
    @classmethod
    def _person_as_text(cls, value: Any) -> Any:
        """YAML reads `person: 0` as a number."""
        return str(value) if type(value) is int else value

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        check_guidance(self)
        check_source(self)
        check_speed(self)
        if self.attention_mode == "masked":
            check_masks(self)
        elif idle := [name for name in ONLY_MASKED if getattr(self, name)]:
            raise ValueError(f"{idle[0]} belongs to attention_mode masked")
        return self

    @property
    def kinds(self) -> list[str]:
        """Kinds of guidance in use, each once."""
        return list(dict.fromkeys(self.controls[name].kind for name in self.guidance))

    @property
    def guided(self) -> bool:
        """Whether classifier-free guidance is on."""
        return self.guidance_scale > 1

    @property
    def unguided_steps(self) -> int:
        """How many steps are without the unconditional branch."""
        return round(self.skip_uncond * self.num_inference_steps) if self.guided else 0

    @property
    def real_source(self) -> bool:
        """Whether the source is a given picture, which is inverted."""
        return self.source == "clip" or self.source_image is not None

    @property
    def masked_by_words(self) -> bool:
        """Whether a mask, of the source or of the frames, is found by the words of the object."""
        return self.attention_mode == "masked" and (self.target_masks is None or self.source_mask is None)

    def as_yaml_data(self) -> dict[str, Any]:
        """Plain data for a YAML file that reproduces these settings."""
        data: dict[str, Any] = self.model_dump(mode="json")
        return data
