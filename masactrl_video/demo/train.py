"""Trains the demo models: draws pictures, then the autoencoder, the UNet with what guides it, and the transformer.

``python -m masactrl_video.demo.train --stage all --out .training/run``; stopped and started again, it goes on.
``torchrun --nproc-per-node 2 -m masactrl_video.demo.train …`` shares the work among processes: one for
each GPU, or on a CPU one for each core, which is faster than one process with as many threads.
"""

import argparse
import logging
import time
from pathlib import Path

import torch

from masactrl_video.demo.architecture import SIZES
from masactrl_video.demo.training import processes
from masactrl_video.demo.training.plan import Plan
from masactrl_video.demo.training.stages import STAGES
from masactrl_video.demo.training.take_up import take_up
from masactrl_video.demo.world.identity import WORLDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--stage", choices=[*STAGES, "all"], default="all")
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures, checkpoints and logs")
    parser.add_argument(
        "--take-up", type=Path, help="folder of weights that were exported, to go on from where there is no checkpoint"
    )
    parser.add_argument("--networks", choices=SIZES, default="demo", help="how wide the networks are")
    parser.add_argument("--world", choices=WORLDS, default="full")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures in pixels")
    parser.add_argument("--frames", type=int, default=20_000, help="pictures to draw")
    parser.add_argument("--minutes", type=float, default=20, help="training time of each stage in all")
    parser.add_argument("--until", help="clock time, HH:MM in UTC, at which to stop whatever is running")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bfloat16", action="store_true", help="autocast; for GPUs")
    parser.add_argument("--compile", action="store_true", help="torch.compile the networks")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw pictures")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument("--seed", type=int, default=0)
    args = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    stage, threads, until, weights = (args.pop(name) for name in ("stage", "threads", "until", "take_up"))
    if threads:
        torch.set_num_threads(threads)
    processes.join()
    plan = Plan(**args, until=_unix_time(until) if until else None)
    plan.out.mkdir(parents=True, exist_ok=True)
    with processes.first_alone() as first:
        if first and weights:
            take_up(weights, plan.out)
    for name in STAGES if stage == "all" else [stage]:
        logging.info("stage %s", name)
        STAGES[name](plan)


def _unix_time(clock: str) -> float:
    """When the clock shows this next."""
    hour, minute = (int(part) for part in clock.split(":"))
    now = time.time()
    return now + (3600 * hour + 60 * minute - now) % 86_400


if __name__ == "__main__":
    main()
