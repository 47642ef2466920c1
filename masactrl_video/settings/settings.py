"""Everything that determines a rendered video, as one flat, frozen record.

The names are those of the YAML keys and, with dashes, of the command line's flags; the descriptions are their help.
All else that must be known of a setting stands with it too (`fields.Option`); lists of settings are derived from it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from masactrl_video.settings.agreement import check_guidance, check_masks, check_source, check_speed
from masactrl_video.settings.control import Control
from masactrl_video.settings.fields import (
    ATTEND,
    CLEAN_POSES,
    COMICS,
    DECODE,
    DENOISE,
    DETECT_POSES,
    DRAW_GUIDANCE,
    FIT_FRAMES,
    MAKE,
    OPEN_MODELS,
    READ_CLIPS,
    READ_POSES,
    RECORD,
    RETARGET_POSES,
    SELECT_FRAMES,
    STILLS,
    VIDEOS,
    option,
)
from masactrl_video.settings.home import MAY_BE_AT_HOME, OwnName, OwnPath
from masactrl_video.settings.inactive import (
    CHARACTER_IS_SOURCE,
    INVERTED_NOISE,
    LAYERS_LISTED,
    MASKED,
    NO_EDGES,
    NO_FRAME_IN_SOURCE,
    NO_MASK_BY_WORDS,
    NO_NEGATIVE,
    NO_POSES,
    NO_UNCONDITIONAL,
    NO_VAE,
    OWN_BODY,
    PICTURE_IS_SOURCE,
    POSES_GIVEN,
    STEPS_LISTED,
    check_only,
)
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

# kinds of settings: what those of a kind have in common; a setting itself says where it differs
_selection = partial(option, "clip", changes="source", commands=SELECT_FRAMES)
_size = partial(option, "clip", changes="source", commands=FIT_FRAMES)
_guided = partial(option, "guidance", changes="source", commands=DRAW_GUIDANCE)
_detected = partial(option, "guidance", changes="source", commands=DETECT_POSES, inactive=(NO_POSES, POSES_GIVEN))
_cleaned = partial(option, "guidance", changes="source", commands=CLEAN_POSES, inactive=(NO_POSES,))
_weights = partial(option, "model", changes="source", commands=OPEN_MODELS, fixed_by_character=True)
_loaded = partial(option, "model", changes="source", commands=OPEN_MODELS)
_sampled = partial(option, "prompt", changes="source", commands=DENOISE, sweepable=True)
_source = partial(option, "source", changes="source", commands=VIDEOS | RECORD)
_any_source = partial(option, "source", changes="source", commands=DENOISE - COMICS, sweepable=True)
_attention = partial(option, "attention", changes="frames", commands=ATTEND, sweepable=True)
_mask = partial(option, "attention", changes="source", commands=ATTEND - COMICS, only=MASKED, sweepable=True)
_storage = partial(option, "work", changes="speed", commands=DENOISE)
_batching = partial(option, "work", changes="speed", commands=VIDEOS)
_faster = partial(option, "speed", changes="source", commands=DECODE)
_encoding = partial(option, "output", changes="file", commands=VIDEOS | {"guidance", "encode"})


class Settings(BaseModel):
    """Resolved settings of a render."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    clip: Annotated[Path, MAY_BE_AT_HOME] = option(
        "clip",
        "video (MP4, MOV, MKV, WebM, AVI, MPEG-TS, GIF, …), folder of images, or pose JSON",
        changes="source",
        commands=READ_CLIPS,
        by_hand=True,
        keeps_panels=True,
    )
    skip_first_frames: int = _selection("frames left out at the start", 0, ge=0)
    select_every_nth: int = _selection("take every n-th frame; the duration stays", 1, ge=1)
    frame_load_cap: int | None = _selection("take at most this many frames", None, ge=1)
    frame_rate: float | None = _selection("frames a second of images or pose JSON (24 if not given)", None, gt=0)
    video_stream: int | None = _selection(
        "of a video with several streams take this one, from 0 (if not given, the default one)", None, ge=0
    )
    allow_partial: bool = _selection(
        "of a damaged video or folder, render what is before the damage", False, changes="file"
    )
    fit: FitMode = _size(
        "how frames get the model's size: crop (scale to cover, cut both sides alike), pad (scale to fit inside, black "
        "bars) or resize (stretch)",
        "crop",
        commands=FIT_FRAMES | {"pose retarget"},
    )
    width: int | None = _size("width in px; without width and height: the clip's shape, the model's area", None, ge=1)
    height: int | None = _size("height in px", None, ge=1)

    guidance: list[str] = _guided(
        "names of the controls in use, e.g. pose canny",
        ["canny"],
        commands=DRAW_GUIDANCE | STILLS | {"story"},
        keeps_panels=True,
    )
    controls: dict[str, Control] = _guided(
        "ControlNets and T2I-Adapters to choose from, by name",
        {},
        commands=VIDEOS | RECORD | STILLS | {"story"},
        by_hand=True,
    )
    guidance_video: Annotated[dict[str, Path], MAY_BE_AT_HOME] = _guided(
        "ready-made guidance instead of extraction, KIND=VIDEO_OR_FOLDER (repeatable)", {}
    )
    pose_detector: OwnName = _detected(
        "hub id or folder of controlnet_aux's OpenPose weights, an 18-point OpenPose network (.onnx), or "
        "demo/keypoints for the cartoon world",
        None,
    )
    pose_threshold: float | None = _detected(
        "confidence from which the detector takes what it sees for a person (if not given its own: 0.28 for an .onnx "
        "network, 0.2 for demo/keypoints); lower finds more people, and more that are none",
        None,
        ge=0,
        le=1,
    )
    pose_json: OwnPath = _cleaned(
        "pose JSON of OpenPose, ControlNet, COCO or MMPose (a list, or a folder with a file a frame)",
        None,
        commands=DRAW_GUIDANCE - {"animate"},
    )
    fill_missing_poses: bool = _cleaned("frames without a person take their neighbours' pose", False)
    pose_canvas: str | None = _cleaned(
        "WIDTHxHEIGHT in px of pose JSON that names no canvas",
        None,
        commands=READ_POSES,
        pattern=r"^[1-9]\d{0,4}x[1-9]\d{0,4}$",
    )
    pose_confidence: float = _cleaned("keypoints below this confidence count as missing", 0.0, ge=0, le=1)
    person: str | None = _cleaned(
        "draw only one of several people: 0, 1, … by appearance, or largest",
        None,
        commands=CLEAN_POSES | {"pose retarget"},
        pattern=r"^(\d{1,6}|largest)$",
    )
    fill_pose_gaps: int = _cleaned("keypoints missing for at most this many frames are interpolated over time", 0, ge=0)
    smooth_poses: int | None = _cleaned(
        "window in frames (odd, from 5) of a filter that smooths poses over time", None, ge=5
    )
    retarget: OwnPath = _cleaned(
        "give the poses the bone lengths of this body: pose JSON, or a picture (with pose_detector)",
        None,
        commands=RETARGET_POSES,
    )
    retarget_foreshortening: bool = _cleaned(
        "retarget: bones keep their share of their full length in each frame",
        False,
        commands=RETARGET_POSES,
        inactive=(NO_POSES, OWN_BODY),
    )
    canny_low_threshold: int = _guided("lower threshold of the edge detector", 100, inactive=(NO_EDGES,), ge=0)
    canny_high_threshold: int = _guided("upper threshold of the edge detector", 200, inactive=(NO_EDGES,), ge=0)

    model: Annotated[str, MAY_BE_AT_HOME] = _weights(
        "hub id, diffusers folder, or one .safetensors file; `demo` ships with the package"
    )
    revision: str | None = _weights("branch, tag or commit on the hub", None)
    variant: str | None = _weights("variant of the weight files, e.g. fp16", None)
    single_file_config: OwnName = _loaded(
        "for a .safetensors file: hub id or folder with its configuration and tokenizer", None
    )
    dtype: DtypeName | None = _loaded("number format (float16 on a GPU, float32 elsewhere, if not given)", None)
    device: str | None = _loaded("cuda, mps or cpu (the first that there is, if not given)", None, keeps_panels=True)
    offload: OffloadKind | None = _loaded(
        "for a small GPU: weights wait in the CPU's memory. model: text encoders, UNet with guidance networks, and VAE "
        "come one after the other; sequential: layer by layer, much slower",
        None,
        changes="speed",
        keeps_panels=True,
    )
    lora: Annotated[dict[str, float], MAY_BE_AT_HOME] = _weights(
        "LoRA files, FILE=SCALE (1 if not given)", {}, commands=DENOISE
    )
    prediction_type: PredictionType | None = _weights(
        "what the model predicts, where its files do not say it, or wrongly: epsilon (most), v_prediction (SD-2.x of "
        "768 px, models called vpred) or sample",
        None,
    )
    scheduler: SchedulerName = _weights(
        "sampler; ddim as in the paper", "ddim", commands=DENOISE - {"edit"}, sweepable=True
    )

    prompt: str = _sampled("what the frames show", "", commands=VIDEOS | RECORD | MAKE, keeps_panels=True)
    negative_prompt: str = _sampled("what they should not show", "", inactive=(NO_NEGATIVE,))
    num_inference_steps: int = _sampled("denoising steps", 50, fixed_by_character=True, ge=1)
    guidance_scale: float = _sampled("classifier-free guidance; 1 or less: none", 7.5, ge=0)
    seed: int = _sampled(
        "of the initial noise", 0, commands=DENOISE - STILLS, inactive=(INVERTED_NOISE,), ge=0, lt=2**32
    )
    noise: NoiseKind = option(
        "prompt",
        "initial noise: the source's for all frames, or another for each",
        "shared",
        changes="frames",
        commands=VIDEOS,
    )

    source: Literal["generate", "clip"] = _source(
        "generate the source from a prompt, or invert the clip's own frame", "generate", inactive=(PICTURE_IS_SOURCE,)
    )
    source_frame: int = _source(
        "frame (of those taken, from 0) whose guidance or picture is the source's",
        0,
        inactive=(PICTURE_IS_SOURCE, CHARACTER_IS_SOURCE, NO_FRAME_IN_SOURCE),
        ge=0,
    )
    source_image: OwnPath = _any_source(
        "invert this picture as the source", None, commands=DENOISE - COMICS - {"synthesize"}
    )
    source_prompt: str | None = _any_source(
        "prompt of the source (the prompt if generated, empty if inverted, when not given)", None
    )
    character: str | None = _any_source(
        "a saved character is the source (masactrl-video source make); its recipe must fit the model",
        None,
        commands=ATTEND - COMICS,
    )
    source_caption: str | None = _any_source(
        "masked mode, inverted source: a caption that names the object (the prompt if not given)",
        None,
        commands=ATTEND - COMICS - {"synthesize"},
        only=MASKED,
    )

    masa_step: int = _attention(
        "S: denoising step from which the source's keys and values are used", 4, inactive=(STEPS_LISTED,), ge=0
    )
    masa_layer: int = _attention(
        "L: self-attention layer (forward order) from which they are used", 10, inactive=(LAYERS_LISTED,), ge=0
    )
    masa_steps: list[int] | None = _attention("explicit steps instead of S", None)
    masa_layers: list[str] | None = _attention("explicit layers instead of L: numbers or names", None)
    attention_mode: Mode = _attention(
        "source: the source's keys only (the paper); union: the frame's own too; masked: figure to figure, ground to "
        "ground",
        "source",
        changes="source",
        commands=ATTEND - {"comic"},
    )
    mask_words: list[str] = _mask("masked mode: words of the object in the prompt", [])
    source_mask_words: list[str] | None = _mask("its words in the source's prompt, if others", None)
    source_mask: OwnPath = _mask("masked mode: picture, white where the source's object is", None)
    target_masks: OwnPath = _mask(
        "masked mode: video or folder, white where each frame's object is",
        None,
        changes="frames",
        commands=VIDEOS | RECORD,
        sweepable=False,
    )
    mask_threshold: float = _attention(
        "normalised attention from which a pixel is the object's",
        0.1,
        commands=DECODE,
        inactive=(NO_MASK_BY_WORDS,),
        ge=0,
        le=1,
    )
    mask_grid_divisor: int = _attention(
        "masks come from cross-attention at latent side / this", 4, changes="source", inactive=(NO_MASK_BY_WORDS,), ge=1
    )

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
    )

    characters_dir: OwnPath = _storage(
        "saved characters (~/.local/share/masactrl-video/characters if not given)", None, keeps_panels=True
    )

    cache_memory: ByteSize = option(
        "speed",
        "a recorded source that fits into this, e.g. 8GiB, is held in memory for the later chunks; any other is read "
        "again for each chunk, one step ahead of the model",
        ByteSize(0),
        changes="speed",
        commands=VIDEOS,
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
        "run the whole UNet at every n-th denoising step only, at the others its outermost blocks around the same deep "
        "features (DeepCache): not exact",
        None,
        changes="frames",
        commands=DECODE - COMICS - {"compare"},
        ge=2,
    )
    channels_last: bool = _faster(
        "channels_last memory format: exact but for the last digits; made for GPUs with float16", False
    )
    compile: bool = _faster(
        "torch.compile for UNet and guidance networks: exact but for the last digits; takes minutes before the first "
        "frame, and again for another size of a batch; made for GPUs",
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

    audio: bool = _encoding("keep the clip's sound", True, commands=VIDEOS | {"encode"})
    codec: str | None = _encoding("ffmpeg's encoder (H.264, in WebM VP9, if not given)", None)
    pix_fmt: str = _encoding("pixel format of the video", "yuv420p")
    crf: int = _encoding("quality, lower is better", 17, ge=0, le=63)
    side_by_side: bool = _encoding("also a video of clip, guidance and result", True, commands=VIDEOS)
    save_masks: bool = _encoding(
        "masked mode: also write the masks", False, changes="frames", commands=VIDEOS, only=MASKED
    )

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
        check_only(self, MASKED)
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
