"""Several processes on one training: each computes a part of the batch, and all make the same step."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn


def join() -> None:
    """Meets the other processes that ``torchrun`` started; does nothing in a process that was started alone."""
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def rank() -> int:
    """Number of this process among those of the training, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    """Processes of the training."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def first_alone() -> Iterator[bool]:
    """The first process runs the block, with True; the others wait until it is through, then run it with False."""
    if count() > 1 and rank() > 0:
        dist.barrier()
        yield False
        return
    yield True
    if count() > 1:
        dist.barrier()


def average(parameters: Sequence[nn.Parameter], numbers: Sequence[float]) -> list[float]:
    """Averages the gradients over all processes, in place, and some numbers with them.

    Which parameters have a gradient must be the same everywhere.
    """
    if not dist.is_initialized():
        return list(numbers)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([*(gradient.flatten() for gradient in gradients), gradients[0].new_tensor(list(numbers))])
    dist.all_reduce(flat)
    flat /= count()
    _copy_back(flat, gradients)
    return [float(number) for number in flat[flat.numel() - len(numbers) :]]


def _copy_back(flat: Tensor, gradients: Sequence[Tensor]) -> None:
    at = 0
    for gradient in gradients:
        gradient.copy_(flat[at : at + gradient.numel()].view(gradient.shape))
        at += gradient.numel()
