"""The shapes of what people use in programs: plain dictionaries, JSON as they are, with their keys written down."""

from __future__ import annotations

from typing import Any, TypedDict


class Span(TypedDict):
    """A value with 95 % bounds (`low`, `high`) and one-sided ones (`below`, `above`); None where one seed gives
    none."""

    value: float
    low: float | None
    high: float | None
    below: float | None
    above: float | None
    n: int


class Recommendation(TypedDict, total=False):
    """What `tune` ends in. `base`, `tuned` and `handed_over` are shares of the task's metric; `standing` is a key of
    tuning/summary.HEADS."""

    study: str
    report: str  # the page's path
    recipe: dict[str, Any]
    run: str
    runs: list[str]
    seeds: list[dict[str, Any]]
    over_seeds: dict[str, Any]
    metric: str
    base: float
    tuned: float
    gain: Span
    handed_over: float
    confirmed: bool
    verdict: str
    standing: str
    couplings: list[dict[str, Any]]


class StudyResult(TypedDict, total=False):
    """What a designed study, a search or a path found; which of the lists is there depends on `kind`."""

    study: str
    kind: str
    question: str
    sentence: str
    cells: list[dict[str, Any]]
    trials: list[dict[str, Any]]
    steps: list[dict[str, Any]]
    best: dict[str, Any] | None
    front: list[str]


class Comparison(TypedDict):
    """Two runs on the same items; differences are second − first."""

    runs: list[str]
    settings: dict[str, list[Any]]
    loss: list[float]
    drift: list[float | None]
    difference: Span
    task: dict[str, Any]
    words: dict[str, Any]
    sentence: str
