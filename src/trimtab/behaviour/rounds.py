"""The questions of a card, asked of base and tuned model in rounds: everything once, then on where something is not
known yet. Takes two evaluated models, gives raw values and how many were asked at each look.

What is known is for somebody else to say (analysis/card.py, by a budget); this room knows no limits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from trimtab.analysis.looks import ANSWERS, POOLED, Looks, pieces
from trimtab.behaviour.answering import Answer, EvaluatedModel, answers
from trimtab.behaviour.drift import Neutral, Reference, drift
from trimtab.behaviour.pair_responses import Raw, compare, style, wholeness
from trimtab.behaviour.responses import WORDS, Battery, Responses, collect_responses, questions, work
from trimtab.probes.prompts import CARD_TOKENS, as_messages

StillOpen = Callable[[Raw, Looks], Sequence[str]]  # what is measured so far -> sets that have to go on, in that order
ALWAYS = ("generic", "facts", "leaning")  # begun whatever the time is


@dataclass(frozen=True)
class Until:
    """When a card has asked enough: `still_open` says of what is measured so far which question sets have to go on,
    what tells most first. With a time, counted from when this is made, only what fits into it is asked after `first`
    and what every card begins with; the rest stays open, and another card goes on to ask."""

    still_open: Callable[[dict[str, Any]], Sequence[str]]
    first: frozenset[str] = frozenset()
    seconds: float = math.inf
    began: float = field(default_factory=time.monotonic)

    @property
    def timed(self) -> bool:
        return self.seconds < math.inf

    @property
    def left(self) -> float:
        """Seconds."""
        return self.began + self.seconds - time.monotonic()

    def fitting(self, wanted: Sequence[str], expected: Callable[[str], float]) -> list[str]:
        """Of these, in their order, those whose `expected` seconds fit into what is left, one after the other."""
        left, chosen = self.left, []
        for name in wanted:
            if (took := expected(name)) <= left:
                chosen.append(name)
                left -= took
        return chosen


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
        self.limited: set[str] = set()  # sets that some limit needs, known from the start of a card that may stop

    def begin(self, until: Until | None, still_open: StillOpen) -> None:
        """All that there is (None); else the first piece of what something is limited by, and all of what is not.
        With a time the first pieces of what has to be asked."""
        self.limited = set(still_open({}, {})) if until else set()
        if until and until.timed:
            self._ask({name: self._next(name) for name in self.most.keys() & {*until.first, *ALWAYS}})
        else:
            self._ask({name: self._next(name) if name in self.limited else self.most[name] for name in self.most})

    def go_on(self, until: Until, still_open: StillOpen) -> None:
        """Round after round, until all is known or nothing more fits."""
        while going := until.fitting(self._wanted(until, still_open), self.expected):
            words = ", ".join(WORDS.get(n, n) for n in sorted(going))
            self.tuned.base.say(f"Not known yet, asking on: {words}")
            self._ask({name: self._next(name) for name in going})

    def _wanted(self, until: Until, still_open: StillOpen) -> list[str]:
        """The sets that have to go on and can; with a time also, last, those that nothing is limited by."""
        opened = [name for name in still_open(self.raw(), self.looks) if name in self.most]  # a short card asks fewer
        if self.count("generic") < self.neutral.least:
            opened.append("generic")
        if "phrasing" in opened and self.count("facts") <= self.count("phrasing"):
            opened.insert(0, "facts")  # whose plain wording the others are held against
        if until.timed:
            opened += [name for name in self.most if name not in self.limited]
        return [name for name in dict.fromkeys(opened) if self.count(name) < self.most[name]]

    def expected(self, name: str) -> float:
        """Seconds of this set's next piece, both models: by what its own have taken, else by the same kind of
        question; nothing where no such was asked."""
        more = self._next(name) - self.count(name)
        if name == "phrasing":
            return self.battery.variants * more * self._seconds("facts") / max(1, self.count("facts"))
        if self.count(name):
            return more * self._seconds(name) / self.count(name)
        return self.seconds_of(work(more, self._tokens.get(name, 0)))

    def seconds_of(self, amount: float) -> float:
        """So much `work` (behaviour/responses.py), by what answers in words have taken; nothing before there are
        any."""
        done = [name for name in self._tokens if self.count(name)]
        looks = [(a, b, name) for name in done for a, b in pairwise([0, *self.counts[name]])]
        all_done = sum(work(b - a, self._tokens[name]) for a, b, name in looks)
        took = sum(map(self._seconds, done)) - self._seconds("drift")  # a part of what neutral prompts take
        return amount * took / all_done if done else 0.0

    @cached_property
    def _tokens(self) -> dict[str, int]:
        """Of an answer at most, of the sets that are answered in words."""
        return {"generic": CARD_TOKENS} | {q.name: q.tokens for q in questions(self.battery) if q.tokens}

    def _seconds(self, name: str) -> float:
        """That this set has taken so far, of both models."""
        return sum(took.get(name, 0.0) for took in (self.seconds, self.said.seconds, self.base_said.seconds))

    def count(self, name: str) -> int:
        """How many of this set have been asked."""
        return self.counts[name][-1] if self.counts[name] else 0

    @property
    def looks(self) -> Looks:
        """{question set: {"asked": after each look, "of": at most}}."""
        sets: Looks = {name: {"asked": list(n), "of": self.most[name]} for name, n in self.counts.items()}
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
        if self.answered[-1:] != [pooled] and pooled:
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
