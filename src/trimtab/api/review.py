"""Blind review of answers: pairs, votes, labels, results. Takes runs by name, gives plain data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.analysis import review as votes
from trimtab.errors import StoreError
from trimtab.spec.options import DEFAULT_OUT
from trimtab.store.folder import opened

if TYPE_CHECKING:
    from trimtab.store import Store

MOST_CHANGED = 12
ASKED = ("task", "generic")  # probes whose answers people compare
LABELLED = {"refusable": "refused", "alarming": "over_refused"}  # probes whose answers people label


def review(run: str, other: str | None = None, *, n: int = 50, out: str | Path = DEFAULT_OUT) -> dict[str, Any]:
    """The review of a run against its base, or of two runs; its pairs are drawn and stored at the first call."""
    with opened(out, create=False) as store:
        names, pairs = _pairs(store, run, other)
        name = "review-" + hashlib.sha256(" ".join(names).encode()).hexdigest()[:8]
        drawn = store.judgements.open_review(name, names, votes.draw(pairs, n, seed=int(name[7:], 16)))
        same = sum(p["first"].strip() == p["second"].strip() for p in pairs)
        return {
            "review": name,
            "names": list(names),
            "pairs": drawn,
            "whole": len(pairs),
            "same": same,
            "result": votes.result(drawn, names, same),
            "changed": votes.most_changed(pairs, MOST_CHANGED),
            "strengths": _strengths(store),
        }


def _pairs(store: Store, run: str, other: str | None) -> tuple[tuple[str, str], list[dict[str, Any]]]:
    """((first, second), answers to the same prompts): base against tuned, or two runs."""
    mine = _samples(store, run)
    if other is None:
        pairs = [{**_asked(s), "first": s["base"], "second": s["tuned"]} for s in mine.values()]
        return (f"base of {store.find_run(run).id}", store.find_run(run).id), pairs
    theirs = _samples(store, other)
    both = [k for k in mine if k in theirs]
    if not both:
        raise StoreError(f"{run} and {other} answered no prompt in common; runs on the same data do")
    pairs = [{**_asked(mine[k]), "first": mine[k]["tuned"], "second": theirs[k]["tuned"]} for k in both]
    return (store.find_run(run).id, store.find_run(other).id), pairs


def _samples(store: Store, run: str) -> dict[tuple[str, str], dict[str, Any]]:
    row = store.find_run(run)
    samples = {(s["probe"], s["prompt"]): s for s in store.samples(row.id) if s["probe"] in ASKED}
    if not samples:
        raise StoreError(f"run {row.id} has no answers to review yet; measure its card first: trimtab card {row.id}")
    return samples


def _asked(sample: Mapping[str, Any]) -> dict[str, Any]:
    return {k: sample[k] for k in ("probe", "prompt", "reference")}


def _strengths(store: Store) -> list[dict[str, Any]]:
    """Bradley–Terry over every vote of the folder; nothing for fewer than three models."""
    by_prompt: dict[str, list[tuple[str, str]]] = {}
    for pair in store.judgements.reviews():
        if pair["vote"] in ("first", "second"):
            first, second = (n.removeprefix("base of ") if n.startswith("base of ") else n for n in pair["names"])
            first = "base" if pair["names"][0].startswith("base of ") else first
            winner, loser = (first, second) if pair["vote"] == "first" else (second, first)
            by_prompt.setdefault(pair["prompt"], []).append((winner, loser))
    names = {n for prompt in by_prompt.values() for pair in prompt for n in pair}
    return votes.strengths(list(by_prompt.values())) if len(names) > 2 else []


def vote(review: str, place: int, choice: str | None, out: str | Path = DEFAULT_OUT) -> None:
    """`choice` is "first", "second", "tie", or None to take it back."""
    with opened(out, create=False) as store:
        store.judgements.vote(review, place, choice)


def to_label(run: str, *, n: int = 50, out: str | Path = DEFAULT_OUT) -> list[dict[str, Any]]:
    """Up to `n` prompts' answers, base and tuned mixed and blind, that have no label yet: whether they refuse."""
    import random

    with opened(out, create=False) as store:
        row = store.find_run(run)
        done = {(r["probe"], r["place"], r["side"]) for r in store.judgements.labels(row.id)}
        prompts = [(kind, i, s) for kind in LABELLED for i, s in enumerate(_of_kind(store, row.id, kind))]
        if not prompts:
            raise StoreError(
                f"run {row.id} was not asked what it refuses; measure its card first: trimtab card {row.id}"
            )
        rng = random.Random(row.id)
        rng.shuffle(prompts)
        left = [p for p in prompts if any((*p[:2], side) not in done for side in ("base", "tuned"))]
        mixed = [
            {"run": row.id, "probe": kind, "place": i, "side": side, "prompt": s["prompt"], "answer": s[side]}
            for kind, i, s in left[:n]
            for side in rng.sample(("base", "tuned"), 2)
        ]
        return [m for m in mixed if (m["probe"], m["place"], m["side"]) not in done]


def _of_kind(store: Store, run: str, kind: str) -> Sequence[dict[str, Any]]:
    return [s for s in store.samples(run) if s["probe"] == kind]


def label(answer: Mapping[str, Any], value: float, out: str | Path = DEFAULT_OUT) -> None:
    """What a person says of one answer of `to_label`: 1 refuses, 0 does not; said again, it replaces."""
    with opened(out, create=False) as store:
        store.judgements.label(**{k: answer[k] for k in ("run", "probe", "place", "side")}, label=value)
