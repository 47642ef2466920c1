"""When the device's memory is too small for a batch: smaller batches, and the run goes on; or what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

from masactrl_video.errors import UserError, counted

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass
class BatchSize:
    """Frames that go through the model together; halved when the device's memory does not hold them."""

    frames: int
    warned: bool = False
    """Whether it was said that batches are smaller; further halvings are only in the log."""

    def cut(self, batches: Sequence[range]) -> list[range]:
        """The same frames in batches of at most this size; each cut is at a fixed frame, whatever was done before."""
        return [batch[first : first + self.frames] for batch in batches for first in range(0, len(batch), self.frames)]

    def within_memory(self, batches: Sequence[range], work: Callable[[list[range]], Result]) -> Result:
        """The result of `work` on the batches, begun anew in halves each time that it runs out of memory.

        Raises:
            RuntimeError: out of memory for one frame; or whatever else `work` raises.
        """
        while True:
            smaller = self.cut(batches)
            try:
                return work(smaller)
            except RuntimeError as error:  # torch.OutOfMemoryError is one; other devices have no class of their own
                if not is_out_of_memory(error) or self.frames == 1:
                    raise
            # Only here, past the handler, is the traceback gone, with all tensors that it held.
            self.frames = (max(map(len, smaller)) + 1) // 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            logger.log(
                logging.INFO if self.warned else logging.WARNING,
                "out of memory: from frame %d on, batches are of %s; that changes sums in the last digits, as "
                "--batch-size does",
                batches[0][0],
                counted(self.frames, "frame"),
            )
            self.warned = True


@contextmanager
def enough_memory(what: str) -> Iterator[None]:
    """Inside the context, a lack of memory is said, with what to do.

    Args:
        what: is made there, for the message.

    Raises:
        UserError: there is not enough memory for it.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"not enough memory for {what}; give a smaller width and height, or dtype float16, or close what else uses "
            "the device"
        ) from error


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of torch says that memory is used up, on whatever device."""
    text = str(error).lower()
    return isinstance(error, torch.cuda.OutOfMemoryError) or "out of memory" in text or "can't allocate memory" in text
