"""Pictures that are written while the model works at the next ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masactrl_video.progress import carried
from masactrl_video.video.png import write_png

_MAX_WAITING = 8
"""Pictures in memory that are not yet on the disk."""

Write = Callable[[Path, NDArray[np.uint8], Mapping[str, str]], Future[str]]


@contextmanager
def writing_beside() -> Iterator[Write]:
    """Inside the context, `write_png` in a thread: in the order of the calls, and whole when the context ends.

    What cannot be written raises at a later call, or at the end. After an exception, Ctrl-C too, pictures that were
    handed over are still written.
    """
    waiting: deque[Future[str]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="pictures") as writer:

        def write(path: Path, picture: NDArray[np.uint8], text: Mapping[str, str]) -> Future[str]:
            while waiting and (waiting[0].done() or len(waiting) >= _MAX_WAITING):
                waiting.popleft().result()
            waiting.append(writer.submit(carried(write_png), path, picture, text))
            return waiting[-1]

        yield write
        for written in waiting:
            written.result()
