"""What each means for long clips gives and costs, as one table: python benchmarks/long_clips.py [--only sources …]

Held-out characters of the cartoon world, whose exact frames are known; the demo model, guided by exact poses.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from long_clip_limits import limits, still
from long_clip_means import MEANS, Studio

_ALL = {**MEANS, "still": still, "limits": limits}

HEADER = "| means | figure | without | with | aim | met | cost |\n| --- | --- | --- | --- | --- | --- | --- |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=tuple(_ALL), default=tuple(_ALL), help="these means alone")
    parser.add_argument("--cases", type=int, default=2, help="held-out characters")
    parser.add_argument("--frames", type=int, default=8, help="of each clip; of colours as many as are asked for")
    parser.add_argument("--steps", type=int, default=6, help="denoising steps")
    parser.add_argument("--sheets", type=Path, help="write a picture of the last case of each means into this folder")
    args = parser.parse_args()
    print(HEADER, flush=True)
    studio = Studio(args.cases, args.frames, args.steps, args.sheets)
    for name in args.only:
        for row in _ALL[name](studio):
            print(row.line(), flush=True)


if __name__ == "__main__":
    main()
