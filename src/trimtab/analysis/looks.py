"""Asking until it is known: which pieces a question set is asked in, and what each look at its answers may spend of the
5 %. Pure; takes counts, gives the tails of bounds.

A number is looked at whenever another piece of its questions has been answered, and no more are asked once its bound
lies on one side of its limit. Looking several times is several chances to be wrong. So a look has no more than its
share: after a share t of all the questions, 5 % · t^1.5 may have been spent (Lan & DeMets 1983; this function: Kim &
DeMets 1987), and the bounds of all looks hold together, whatever made one stop (repeated confidence intervals,
Jennison & Turnbull 1989). Asked in one piece it is the plain 95 % bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import TypedDict

import numpy as np
from scipy.stats import norm

from trimtab.analysis.stats import FIXED, Tails

PIECE = 64  # questions: as many as are answered at once
HALVED = 128  # of so many a look after half a piece is worth what it spends: what lies far from its limit is known then
POWER = 1.5  # of 1, 1.5, 2 and 3: a lower one asks less of what is far from its limit, and shows less of what is near
POINTS = 401  # of the grid that a density is carried on
POOLED = ("generic", "alarming", "open")  # harmless questions: their answers show whether a model has come apart
ANSWERS = "answers"  # all of those together


class Seen(TypedDict):
    """Of one question set: how many had been asked after each look, of how many."""

    asked: list[int]
    of: int


def so_many(seen: Seen) -> int:
    """Of one set have been asked."""
    return max(seen["asked"], default=0)


Looks = Mapping[str, Seen]
Density = tuple[np.ndarray, np.ndarray]  # points, and the chance that lies at each


def pieces(count: int) -> tuple[int, ...]:
    """How many have been asked after each look: half a piece, then pieces; 64 at once at most, two looks at least."""
    whole = blocks(count)
    return (PIECE // 2, *whole) if count >= HALVED else whole


def blocks(count: int) -> tuple[int, ...]:
    """Where whole pieces end."""
    size = max(1, min(PIECE, math.ceil(count / 2)))
    return (*range(size, count, size), count) if count else ()


def tails_of(question: str, looks: Looks) -> Tails:
    """What the last look at these questions may spend on each side; a fixed number of questions has all of it."""
    seen = looks.get(question)
    if not seen:
        return FIXED
    shares = tuple(n / seen["of"] for n in seen["asked"])  # none: nothing has been spent
    return Tails(_tail(shares, FIXED.two), _tail(shares, FIXED.one))


def sets_of(question: str) -> tuple[str, ...]:
    """The question sets whose going on tells more of a number that is asked by this."""
    return POOLED if question == ANSWERS else (question,) if question else ()


@cache
def _tail(shares: tuple[float, ...], alpha: float) -> float:
    """The tail whose normal quantile is the boundary of the last look, at these shares of all the questions.

    The sum of what was seen is a Brownian motion at times `shares`. Its density among those that no look has stopped
    is carried from look to look (Armitage, McPherson & Rowe 1969); the boundary is where as much lies beyond it as this
    look may spend.
    """
    density: Density | None = None
    before, tail = 0.0, alpha
    for now in shares:
        beyond = _beyond(density, now - before)
        edge = _where(beyond, alpha * (now**POWER - before**POWER), 12 * math.sqrt(now))
        density, tail = _carried(density, now - before, edge), float(norm.sf(edge / math.sqrt(now)))
        before = now
    return tail


def _beyond(density: Density | None, step: float) -> Callable[[float], float]:
    """x -> the chance to get there unstopped and then lie beyond x."""
    if density is None:
        return lambda x: float(norm.sf(x / math.sqrt(step)))
    grid, weights = density
    return lambda x: float((weights * norm.sf((x - grid) / math.sqrt(step))).sum())


def _where(beyond: Callable[[float], float], chance: float, far: float) -> float:
    low, high = -far, far
    for _ in range(60):  # falls with x; bisection is exact enough
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle) > chance else (low, middle)
    return (low + high) / 2


def _carried(density: Density | None, step: float, edge: float) -> Density:
    """Points below the boundary and the chance that lies at each."""
    grid = np.linspace(edge - 12, edge, POINTS)
    if density is None:
        at = norm.pdf(grid, scale=math.sqrt(step))
    else:
        before, weights = density
        at = norm.pdf(grid[:, None], before[None, :], math.sqrt(step)) @ weights
    simpson = np.full(POINTS, 2.0)
    simpson[1::2] = 4.0
    simpson[[0, -1]] = 1.0
    return grid, at * simpson * (grid[1] - grid[0]) / 3
