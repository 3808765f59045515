"""What to do when memory runs out: tell it from other errors, give back what is cached, go on with smaller pieces."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")
# A card raises a class of its own, a processor's allocator a RuntimeError; a killed process is beyond us.
SAYINGS = ("can't allocate memory", "out of memory", "cannot allocate memory", "failed to allocate", "bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """Of a device or of the processor's allocator."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(s in str(error).lower() for s in SAYINGS)


def release() -> None:
    """Tensors of a failed pass hang on its traceback until it is collected."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def in_batches(
    items: Sequence[Item],
    size: int,
    work: Callable[[Sequence[Item]], Result],
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[Sequence[Item], Result]]:
    """Pieces of at most `size` with their results; where memory runs out, the rest goes on with half the size, and
    says so."""
    start = 0
    while start < len(items):
        piece = items[start : start + size]
        try:
            result = work(piece)
        except Exception as error:
            if len(piece) == 1 or not is_out_of_memory(error):
                raise
            size = len(piece) // 2
        else:
            yield piece, result
            start += len(piece)
            continue
        release()
        say(
            f"out of memory while evaluating {2 * size} examples at once: going on with {size}; training is not changed"
        )
