"""What guides the frames, and how poses come about."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import field_validator

from masactrl_video.settings.control import Control
from masactrl_video.settings.fields import (
    CLEAN_POSES,
    DETECT_POSES,
    DRAW_GUIDANCE,
    READ_POSES,
    RECORD,
    RETARGET_POSES,
    SPRITES,
    STILLS,
    VIDEOS,
    Part,
    option,
)
from masactrl_video.settings.home import MAY_BE_AT_HOME, OwnName, OwnPath
from masactrl_video.settings.inactive import NO_EDGES, NO_POSES, OWN_BODY, POSES_GIVEN

_guided = partial(option, "guidance", changes="source", commands=DRAW_GUIDANCE)
_detected = partial(option, "guidance", changes="source", commands=DETECT_POSES, inactive=(NO_POSES, POSES_GIVEN))
_cleaned = partial(option, "guidance", changes="source", commands=CLEAN_POSES, inactive=(NO_POSES,))


class GuidanceSettings(Part):
    """Guidance networks in use, and what they read."""

    guidance: list[str] = _guided(
        "names of the controls in use, e.g. pose canny",
        ["canny"],
        commands=DRAW_GUIDANCE | STILLS | SPRITES | {"story"},
        keeps_panels=True,
    )
    controls: dict[str, Control] = _guided(
        "ControlNets and T2I-Adapters to choose from, by name",
        {},
        commands=VIDEOS | RECORD | STILLS | SPRITES | {"story"},
        by_hand=True,
    )
    guidance_video: Annotated[dict[str, Path], MAY_BE_AT_HOME] = _guided(
        "ready-made guidance instead of extraction, KIND=VIDEO_OR_FOLDER (repeatable)", {}
    )
    pose_detector: OwnName = _detected(
        "hub id or folder of controlnet_aux's OpenPose weights, an 18-point OpenPose network (.onnx), "
        "demo/keypoints for the cartoon world, or the name of one that another package adds",
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

    @field_validator("person", mode="before")
    @classmethod
    def _person_as_text(cls, value: Any) -> Any:
        """YAML reads `person: 0` as a number."""
        return str(value) if type(value) is int else value

    @property
    def kinds(self) -> list[str]:
        """Kinds of guidance in use, each once."""
        return list(dict.fromkeys(self.controls[name].kind for name in self.guidance))
