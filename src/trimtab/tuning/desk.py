"""What every study works with: who trains, who measures, where it is kept, who is told, and the clock. Takes them,
gives the study's row and its time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from trimtab.spec.progress import Say
from trimtab.spec.status import Status
from trimtab.spec.study import TuneFacts
from trimtab.store import Store, StudyRow
from trimtab.tuning.trainer import Local, Trainer


@dataclass
class Desk:
    """`study` is open in the store; the seconds of earlier processes count."""

    trainer: Trainer
    local: Local
    store: Store
    study: str
    say: Say
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)
    _before: float = field(init=False)

    def __post_init__(self) -> None:
        self._began, self._before = self.clock(), self.row.seconds

    @property
    def row(self) -> StudyRow:
        """The study as it stands in the store."""
        return self.store.study(self.study)

    @property
    def tune_facts(self) -> TuneFacts:
        """What a tune knows so far; only where the study is one."""
        facts = self.row.facts
        assert isinstance(facts, TuneFacts)
        return facts

    @property
    def earlier(self) -> float:
        """Seconds that earlier processes worked at it."""
        return self._before

    def seconds(self) -> float:
        """Worked at it so far."""
        return self._before + self.clock() - self._began

    def tick(self) -> None:
        """Keeps the seconds, so that a killed process loses few."""
        self.store.update_study(self.study, seconds=self.seconds())

    def keep(self, **facts: Any) -> None:
        """Into the study's record, what it then knows."""
        self.store.update_study(self.study, facts=facts)

    def finish(self, **facts: Any) -> None:
        """The same, and the study is complete."""
        self.store.update_study(self.study, status=Status.COMPLETE, seconds=self.seconds(), facts=facts)
