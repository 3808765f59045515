"""A judged card -> one HTML page that needs no network. Takes plain data, writes atomically."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trimtab.reporting.card_parts import parts
from trimtab.reporting.page import environment
from trimtab.spec.files import write_whole
from trimtab.spec.status import Verdict

PROBES = {
    "task": "the task", "generic": "neutral prompts", "alarming": "harmless questions that sound alarming",
    "refusable": "requests that ought to be declined", "open": "open questions", "form": "answers in an exact form",
}  # fmt: skip
SHOWN = 12


def write_card(judged: Mapping[str, Any], page: Path) -> Path:
    """Writes the page whole; gives its path. OSError where it cannot be written."""
    page.parent.mkdir(parents=True, exist_ok=True)
    write_whole(page, card_html(judged).encode())
    return page


def card_html(judged: Mapping[str, Any]) -> str:
    """The page as text."""
    return environment().get_template("card.html").render(
        c=judged, sentence=sentence(judged), changed=most_changed(judged["samples"]), probes=PROBES,
        **parts(judged["rows"], judged["epochs"], judged["samples"]),
    )  # fmt: skip


def sentence(judged: Mapping[str, Any]) -> str:
    """The verdict for someone who reads nothing else."""
    states = {s: [_lowered(r["title"].split(",")[0]) for r in judged["rows"] if r["verdict"] == s] for s in Verdict}
    passed = f"{len(states[Verdict.PASS])} of {sum(map(len, states.values()))} limits hold"
    outside = f"Outside: {'; '.join(states[Verdict.FAIL])}" if states[Verdict.FAIL] else ""
    unsure = f"Not decided: {'; '.join(states[Verdict.UNDECIDED])}" if states[Verdict.UNDECIDED] else ""
    missing = f"Not measured: {'; '.join(states[Verdict.NOT_MEASURED])}" if states[Verdict.NOT_MEASURED] else ""
    return f"{'. '.join(filter(None, (passed, outside, unsure, missing)))}."


def _lowered(title: str) -> str:
    return title[0].lower() + title[1:]


def most_changed(samples: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of each kind the few that share the fewest words with the base's answer: for reading, not for rates."""

    def common(s: Mapping[str, Any]) -> float:
        a, b = set(s["base"].lower().split()), set(s["tuned"].lower().split())
        return len(a & b) / max(1, len(a | b))

    chosen: list[Mapping[str, Any]] = []
    kinds = list(dict.fromkeys(s["probe"] for s in samples))
    for kind in kinds:
        mine = [s for s in samples if s["probe"] == kind and s["base"] != s["tuned"]]
        chosen += sorted(mine, key=common)[: max(2, SHOWN // len(kinds))]
    return chosen
