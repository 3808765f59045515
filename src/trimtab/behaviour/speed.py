"""What an answer costs: time to the first token, time per token, memory. Base and tuned on the same prompts, by turns.

Every model writes exactly as many tokens (its end token is held back), so that a longer answer does not look slower.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psutil
import torch

from trimtab.behaviour.answering import EvaluatedModel, exactly
from trimtab.datasets.tokens import prompt_ids
from trimtab.probes.prompts import as_messages

TOKENS, PROMPTS, ROUNDS = 16, 2, 3


def speeds(base: EvaluatedModel, tuned: EvaluatedModel, prompts: Sequence[str]) -> dict[str, list[float]]:
    """Seconds to the first token and per further token (a round each), peak bytes meanwhile."""
    rounds: dict[str, list[float]] = {}
    for turn in range(ROUNDS + 1):
        for name, evaluated in (("base", base), ("tuned", tuned)):
            numbers = _one(evaluated, prompts[:PROMPTS])
            if turn:  # the first round warms up
                for key, value in numbers.items():
                    rounds.setdefault(f"{key}_{name}", []).append(value)
    return rounds


def _one(evaluated: EvaluatedModel, prompts: Sequence[str]) -> dict[str, float]:
    ids = [prompt_ids(m, evaluated.base.tokenizer) for m in as_messages(prompts)]
    with _peak(evaluated.base.device) as peak:
        first = statistics.median(_timed(evaluated, row, 1) for row in ids)
        every = statistics.median(_timed(evaluated, row, TOKENS) for row in ids)
    per_token = max(0.0, every - first) / (TOKENS - 1)
    return {"first_token_seconds": first, "token_seconds": per_token, "peak_bytes": float(peak[0])}


def _timed(evaluated: EvaluatedModel, row: list[int], tokens: int) -> float:
    began = time.perf_counter()
    exactly(evaluated, row, tokens)
    if evaluated.base.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


@contextmanager
def _peak(device: torch.device) -> Iterator[list[int]]:
    """Most bytes meanwhile: what a card allocated, or how large the process was (a look every 10 ms)."""
    highest, done = [0], threading.Event()

    def watch() -> None:
        process = psutil.Process(os.getpid())
        while not done.wait(0.01):
            highest[0] = max(highest[0], process.memory_info().rss)

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        yield highest
        highest[0] = torch.cuda.max_memory_allocated()
        return
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield highest
    finally:
        done.set()
        watcher.join()
