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
    baseline: str  # what `base` is of: the untouched model, or the best that needs no tuning
    base: float
    tuned: float
    gain: Span
    handed_over: float
    confirmed: bool
    verdict: str
    limits: dict[str, list[str]]  # by state, those that do not pass
    standing: str
    couplings: list[dict[str, Any]]
    inside: dict[str, Any]  # the remedies that were walked, as InsideResult; or {"price": seconds} of doing so
    way: str  # the command that looks for a way inside the budget
    free: dict[str, Any]  # what there was before the remedy that is recommended, with the rows of its card


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


class CardRow(TypedDict):
    """One behaviour number of a card, as `number` in spec/numbers.csv says. `low` and `high` are 95 % bounds, `below`
    and `above` the one-sided ones that a limit is judged by; `floor` is what no change at all reads, `seed_sd` what
    other seeds move it by."""

    number: str
    group: str
    title: str
    unit: str
    base: float | None
    tuned: float | None
    value: float | None  # None: not measured, and `missing` says why
    low: float | None
    high: float | None
    below: float | None
    above: float | None
    n: int
    floor: float | None
    seed_sd: float | None
    no_interval: str | None
    missing: str | None
    lasting: bool  # it is missing for want of something that no run of this model has
    by_people: bool  # people judged it
    limit: dict[str, Any] | None
    hard: bool
    verdict: str | None
    judged_by: str | None  # the bound that the verdict is about
    to_decide: str | None  # what would decide an open verdict


class CardResult(TypedDict, total=False):
    """A run, an adapter or a model against its base."""

    run: str
    model: str
    data: str | None
    budget: dict[str, Any]
    rows: list[CardRow]
    verdict: str
    level: str
    language: str
    asked: dict[str, int]
    seconds: dict[str, float]
    notes: list[str]
    samples: list[dict[str, Any]]
    epochs: list[dict[str, Any]]
    page: str


class PlanSetting(TypedDict):
    """One setting of a plan: why it has its value, and where that is from."""

    setting: str
    value: Any
    reason: str
    source: str
    range: Any
    inputs: Any


class PlanResult(TypedDict):
    """Settings to start from, with a forecast of them; `yaml` is a recipe file."""

    model: str
    facts: dict[str, Any]
    settings: list[PlanSetting]
    recipe: dict[str, Any] | None  # None where trimtab's own loop does not train it
    yaml: str
    forecast: ForecastResult | None
    warnings: list[str]
    couplings: list[dict[str, Any]]
    experiments: list[dict[str, Any]]
    precedents: list[dict[str, Any]]
    data: dict[str, Any] | None
    earlier: list[dict[str, Any]]


class ForecastResult(TypedDict):
    """Bytes, seconds and whether it fits, before launch. `memory["terms"]`: bytes by what holds them."""

    workload: dict[str, Any]
    model: dict[str, Any]
    memory: dict[str, Any]
    how: str
    sure: str
    device: dict[str, Any] | None
    fit: str | None  # fits, tight or does not fit; None where no device is known
    margin: float
    duration: dict[str, Any] | None
    flops: int | None
    versions: dict[str, str]
    notes: list[str]


class Attribution(TypedDict):
    """Which setting moved which number in a study: shares where the design allows them, else effects."""

    study: str
    settings: list[str]
    rows: list[dict[str, Any]]
    next: list[Any]


class InsideRow(TypedDict):
    """A remedy that was looked at. `side`: numbers of the half of the probes that set its strength; `numbers`: the
    card's, which judges; `kept`: share of the unconstrained gain."""

    what: str
    recipe: dict[str, Any] | None  # None: no share of it is well inside
    run: str | None
    side: dict[str, float]
    gain: Span | None
    metric: float | None
    inside: bool
    verdict: str | None
    numbers: dict[str, Any]
    kept: float | None
    seconds: float | None  # of its training; a share of an adapter adds none


class InsideResult(TypedDict):
    """What brings a run inside its budget; `rungs`: {"name", "title", "rows", "note"}, cheapest first."""

    study: str
    report: str  # the page's path
    kind: str
    question: str
    start: InsideRow
    rungs: list[dict[str, Any]]
    recommended: InsideRow | None
    next: str  # what to type
    base: float
    metric_title: str
    words: dict[str, Any]
    sentence: str
