"""The questions of a card, asked of base and tuned model in rounds: everything once, then on where something is not
known yet. Takes two evaluated models, gives raw values and how many were asked at each look.

What is known is for somebody else to say (analysis/card.py, by a budget); this room knows no limits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trimtab.analysis.looks import ANSWERS, POOLED, Looks, pieces
from trimtab.behaviour.answering import Answer, EvaluatedModel, answers
from trimtab.behaviour.drift import Neutral, Reference, drift
from trimtab.behaviour.pair_responses import Raw, compare, style, wholeness
from trimtab.behaviour.responses import WORDS, Battery, Responses, collect_responses, questions
from trimtab.probes.prompts import CARD_TOKENS, as_messages

StillOpen = Callable[[Raw, Looks], set[str]]  # what is measured so far -> question sets that have to go on


def in_time(still_open: Callable[[Any], set[str]], seconds: float) -> Callable[[Any], set[str]]:
    """The same until so many seconds are over, counted from now; no round is begun that would hardly fit. What is not
    known then stays open, and another card goes on to ask."""
    ends, last = time.monotonic() + seconds, time.monotonic()

    def in_time_open(so_far: Any) -> set[str]:
        nonlocal last
        now = time.monotonic()
        round_took, last = now - last, now
        over = so_far["raw"] and now + round_took / 2 > ends
        return set() if over else still_open(so_far)

    return in_time_open


class Asked:
    """What both have answered so far. `comparable`: token by token, so that drift can be taken."""

    def __init__(
        self,
        base: EvaluatedModel,
        tuned: EvaluatedModel,
        neutral: Neutral,
        battery: Battery,
        keep: Path | None,
        comparable: bool,
    ):
        self.base, self.tuned, self.neutral, self.battery, self.keep = base, tuned, neutral, battery, keep
        self.comparable = comparable
        self.most = {"generic": neutral.most} | {q.name: len(q.items) for q in questions(battery)}
        self.counts: dict[str, list[int]] = {name: [] for name in self.most}
        self.answered: list[int] = []  # pooled over the sets whose answers show whether a model has come apart
        self.said, self.base_said = Responses(), Responses()
        self.spoken: list[Answer] = []  # of the tuned model, to the neutral prompts
        self.drift: Raw = {}
        self.seconds: dict[str, float] = {}

    def until_known(self, still_open: StillOpen | None) -> None:
        """Asks everything that there is where `still_open` is None."""
        watched = self.most.keys() & still_open({}, {}) if still_open else set[str]()
        due = {name: self.most[name] for name in self.most.keys() - watched}
        going = watched
        while True:
            self._ask(due | {name: self._next(name) for name in going})
            due, going = {}, self._unknown(still_open) if still_open else set()
            if not going:
                return
            self.tuned.base.say(f"Not known yet, asking on: {', '.join(WORDS.get(n, n) for n in sorted(going))}")

    def _unknown(self, still_open: StillOpen) -> set[str]:
        """The sets that have to go on and can."""
        opened = still_open(self.raw(), self.looks)
        if self.count("generic") < self.neutral.least:
            opened.add("generic")
        if "phrasing" in opened:
            opened.add("facts")  # whose plain wording the others are held against
        return {name for name in opened & self.most.keys() if self.count(name) < self.most[name]}

    def count(self, name: str) -> int:
        """How many of this set have been asked."""
        return self.counts[name][-1] if self.counts[name] else 0

    @property
    def looks(self) -> Looks:
        """{question set: {"asked": after each look, "of": at most}}."""
        sets: Looks = {name: {"asked": list(n), "of": self.most[name]} for name, n in self.counts.items() if n}
        return {**sets, ANSWERS: {"asked": list(self.answered), "of": sum(self.most.get(s, 0) for s in POOLED)}}

    def raw(self) -> Raw:
        """Every number that the answers so far hold."""
        raw = dict(self.drift)
        if self.spoken:
            heard = style(self.ref.answers[: len(self.spoken)], self.spoken, self.battery.language or "en")
            raw |= {k: v for k, v in heard.items() if self.battery.language or not k.startswith("assertive")}
        raw |= compare(self.base_said, self.said, self.battery)
        for name in POOLED[1:]:
            for key, numbers in wholeness(self.base_said.answers(name), self.said.answers(name)).items():
                raw[key] = raw.get(key, []) + list(numbers)
        return raw

    @property
    def ref(self) -> Reference:
        """What the base says to as many neutral prompts as have been asked."""
        return self.neutral.at(self.count("generic"))

    def _next(self, name: str) -> int:
        return next(end for end in pieces(self.most[name]) if end > self.count(name))

    def _ask(self, due: Mapping[str, int]) -> None:
        """Both, these sets up to so many."""
        for name, end in due.items():
            self.counts[name].append(end)
        if "generic" in due:
            self._ask_neutral()
        upto = {name: self.count(name) for name in self.most}
        collect_responses(self.base, self.battery, self.keep, said=self.base_said, upto=upto)
        collect_responses(self.tuned, self.battery, said=self.said, upto=upto)
        pooled = sum(self.count(name) for name in POOLED if name in self.most)
        if self.answered[-1:] != [pooled]:
            self.answered.append(pooled)

    def _ask_neutral(self) -> None:
        """Drift on the prompts that are new, and (not in a pulse) answers to them."""
        start, end = (self.counts["generic"][-2:-1] or [0])[0], self.count("generic")
        ref, began = self.ref, time.monotonic()
        if self.comparable:
            rows = ref.kl_rows[start : self.battery.few or end]
            for key, numbers in drift(self.base, self.tuned, rows).items():
                self.drift.setdefault(key, []).extend(numbers)
        self._took("drift", began)
        if self.battery.level != "pulse":
            self.tuned.base.say(f"Asking the tuned model: neutral prompts {start + 1} to {end}")
            self.spoken += answers(self.tuned, as_messages(ref.prompts[start:end]), CARD_TOKENS)
            self._took("generic", began)

    def _took(self, name: str, since: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - since
