"""Work on many items in threads: Pillow, OpenCV, zlib and numpy release the interpreter lock in their loops."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results in the order of the items. After an error or Ctrl-C nothing more is started."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        try:
            yield from pool.map(work, items)
        finally:
            pool.shutdown(cancel_futures=True)
