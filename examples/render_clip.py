"""The whole way of a clip from Python: python render_clip.py CLIP OUT.mp4."""

import logging
import sys
from pathlib import Path

from masactrl_video import render_clip
from masactrl_video.settings.presets import read_preset, resolve


def main(clip: str, output: str) -> None:
    """Render with the demo preset, the source made under the clip's fourth frame."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = resolve(read_preset("demo"), {"clip": clip, "source_frame": 3})
    outputs = render_clip(settings, Path(output))
    print(outputs.video, outputs.report.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(*sys.argv[1:])
