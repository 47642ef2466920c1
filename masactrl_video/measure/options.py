"""With what a clip is measured, as the user says it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MeasureOptions:
    """What is measured besides the main figures, and with which networks."""

    pose_detector: str | None = None
    """Name of a detector, for poses that are not given."""
    pose_threshold: float | None = None
    """Confidence from which it takes something for a person."""
    loop: bool = False
    """The last frame leads to the first."""
    shortest: bool = False
    """Of clips of unlike length the stretch that both have."""
    raft: Path | None = None
    """Weights of torchvision's RAFT in safetensors, in place of DIS."""
    dino: str | None = None
    """Folder or hub id of DINO, for VBench's subject consistency."""
    clip: str | None = None
    """Folder or hub id of CLIP, for VBench's background consistency, CLIP-F and, with a prompt, CLIP-T."""
    lpips: Path | None = None
    """Weights of LPIPS in safetensors."""
    dreamsim: Path | None = None
    """Folder of DreamSim's weights."""
    prompt: str = ""
    """What the clip is to show, for CLIP-T."""
    device: str = "cpu"
    """For networks."""
