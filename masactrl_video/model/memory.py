"""When the device's memory is too small for a batch: smaller batches, and the run goes on; or what to do."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

import torch

from masactrl_video.errors import UserError, counted

logger = logging.getLogger(__name__)


@dataclass
class BatchSize:
    """Frames that go through the model together; halved when the device's memory does not hold them."""

    frames: int
    warned: bool = False
    """Whether it was said that batches are smaller; further halvings are only in the log."""

    def cut(self, batches: Sequence[range]) -> list[range]:
        """The same frames in batches of at most this size; each cut is at a fixed frame, whatever was done before."""
        return [batch[first : first + self.frames] for batch in batches for first in range(0, len(batch), self.frames)]

    def attempts(self, batches: Sequence[range]) -> Iterator[Attempt]:
        """Contexts to work on the batches in: one, and another with halves each time that memory runs out in one."""
        while True:
            attempt = Attempt(self.cut(batches), is_last=self.frames == 1)
            yield attempt
            if not attempt.ran_out:
                return
            # Only here, past the handler, is the traceback gone, with all tensors that it held.
            self.frames = (max(map(len, attempt.batches)) + 1) // 2
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


class Attempt:
    """A context that yields batches to work on; that memory does not hold them ends it, and is no error but the last.

    Whatever else is wrong, a lack of memory for one frame too, is raised.
    """

    def __init__(self, batches: list[range], is_last: bool) -> None:
        self.batches, self._is_last = batches, is_last
        self.ran_out = False

    def __enter__(self) -> list[range]:
        return self.batches

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        # torch.OutOfMemoryError is a RuntimeError; other devices have no class of their own
        self.ran_out = isinstance(error, RuntimeError) and is_out_of_memory(error) and not self._is_last
        return self.ran_out


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
