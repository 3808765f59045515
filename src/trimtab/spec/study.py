"""A study's record: what was asked, by kind, and what is known of it so far. Plain frozen data, as the store keeps
it.

`name()` is the study's id: it depends on what decides its runs and on nothing else, so that the same question finds
its study again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from trimtab.spec.budget import Budget
from trimtab.spec.recipe import Recipe, without_new_defaults

DesignKind = Literal["scan", "ablate", "batch", "factorial", "repeat"]
DESIGNS: tuple[DesignKind, ...] = get_args(DesignKind)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class _Asked(_Record):
    model: str
    data: str
    fingerprint: str | None = None  # of both, see run/material.py
    budget: Budget | None = None
    command: str = ""  # what to type to get this study
    machine: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """What the id is made of, as JSON values."""
        raise NotImplementedError

    @property
    def _common(self) -> dict[str, Any]:
        budget = self.budget and self.budget.model_dump(mode="json", exclude={"limits": {"__all__": {"optional"}}})
        return {"model": self.model, "data": self.data, "fingerprint": self.fingerprint, "budget": budget}

    def name(self) -> str:
        text = json.dumps(self.content(), sort_keys=True)
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"  # type: ignore[attr-defined]


class TuneAsked(_Asked):
    """`seconds`: how long it may take; `own`: a person's settings; `also`: what is tried besides rate, batch and
    epochs."""

    kind: Literal["tune"] = "tune"
    seconds: float | None = None
    own: dict[str, Any] = Field(default_factory=dict)
    mode: Literal["fast", "certify"] = "fast"
    also: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        return str(self.own.get("task", "sft"))

    def content(self) -> dict[str, Any]:
        also = {"also": list(self.also)} if self.also else {}
        return {**self._common, "seconds": self.seconds, "own": self.own, "mode": self.mode, **also}


class DesignAsked(_Asked):
    """`cells` with the first seed, the baseline first; `changed`: what each is about; `card`: the level every run is
    measured at."""

    kind: DesignKind
    cells: tuple[Recipe, ...]
    seeds: tuple[int, ...]
    question: str = ""
    held: tuple[str, ...] = ()
    changed: tuple[dict[str, Any], ...] | None = None  # None: made before it was kept
    card: str | None = None

    def content(self) -> dict[str, Any]:
        cells = [without_new_defaults(c.model_dump(mode="json")) for c in self.cells]
        return {**self._common, "kind": self.kind, "cells": cells, "seeds": list(self.seeds)}


class SearchAsked(_Asked):
    """`space`: dimensions as planning/space.py has them."""

    kind: Literal["search"] = "search"
    base: Recipe
    space: tuple[dict[str, Any], ...]
    sampler: str

    def content(self) -> dict[str, Any]:
        base = without_new_defaults(self.base.model_dump(mode="json"))
        return {**self._common, "kind": self.kind, "base": base, "space": list(self.space), "sampler": self.sampler}


class PathAsked(_Asked):
    """From the first of `runs` to the second."""

    kind: Literal["path"] = "path"
    runs: tuple[str, str]

    def content(self) -> dict[str, Any]:
        return {**self._common, "kind": self.kind, "runs": list(self.runs)}


class InsideAsked(_Asked):
    """`run`: the one that is to be brought inside `budget`."""

    kind: Literal["inside"] = "inside"
    run: str

    def content(self) -> dict[str, Any]:
        return {**self._common, "kind": self.kind, "run": self.run}


Asked = TuneAsked | DesignAsked | SearchAsked | PathAsked | InsideAsked
_ASKED: TypeAdapter[Asked] = TypeAdapter(Annotated[Asked, Field(discriminator="kind")])


def asked_of(record: Mapping[str, Any]) -> Asked:
    """From JSON values as they are stored."""
    return _ASKED.validate_python(record)


class Timed(_Record):
    """What a few micro-batches showed: `per_size` seconds for one unit of size (a token), `size` of an epoch,
    `examples` in it, and the `evaluated` size of one evaluation with its pulse; timed with `micro` examples in a
    pass."""

    per_size: float
    size: int
    examples: int
    evaluated: float = 0.0
    micro: int
    others: dict[int, float] = {}  # `per_size` with other micro-batches

    @property
    def paces(self) -> dict[int, float]:
        """Seconds for a unit of size by micro-batch."""
        return {self.micro: self.per_size, **self.others}


class _Facts(_Record):
    owner: str | None = None  # the process at work, see store/owner.py
    timed: Timed | None = None


class TuneFacts(_Facts):
    """`facts` as planning/facts.py has them; `plan` rows with reasons; `base` what the untouched model did;
    `data_profile` as datasets/similarity.py makes it."""

    facts: dict[str, Any] | None = None
    plan: list[dict[str, Any]] | None = None
    warnings: list[str] | None = None
    data: dict[str, Any] | None = None
    base: dict[str, Any] | None = None
    couplings: list[dict[str, Any]] | None = None
    scan_fits: bool | None = None
    data_profile: dict[str, Any] | None = None
    earlier: list[str] | None = None
    recommendation: dict[str, Any] | None = None


class DesignFacts(_Facts):
    """`refused` cells, with why; `untouched` losses of the base by item; `result` as tuning/designed_study.py gives
    it."""

    refused: list[dict[str, Any]] | None = None
    untouched: list[float] | None = None
    result: dict[str, Any] | None = None


class SearchFacts(_Facts):
    """`trials`, `limit`, `screen`, `race`: as last asked for; `result` as the search gave it."""

    trials: int | None = None
    limit: float | None = None  # seconds
    screen: bool = False
    race: bool = True
    result: dict[str, Any] | None = None


class PathFacts(_Facts):
    """`result` as the path gave it."""

    result: dict[str, Any] | None = None


class InsideFacts(_Facts):
    """`base`: what the untouched model did at the task; `result` as tuning/ladder.py gave it."""

    base: dict[str, Any] | None = None
    result: dict[str, Any] | None = None


StudyFacts = TuneFacts | DesignFacts | SearchFacts | PathFacts | InsideFacts
_FACTS: dict[str, type[StudyFacts]] = {
    "tune": TuneFacts, "search": SearchFacts, "path": PathFacts, "inside": InsideFacts,
    **dict.fromkeys(DESIGNS, DesignFacts),
}  # fmt: skip


def facts_of(kind: str, record: Mapping[str, Any]) -> StudyFacts:
    """From JSON values; a fact that a study of this kind does not have is an error of the program."""
    return _FACTS[kind].model_validate(record)
