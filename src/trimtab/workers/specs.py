"""How a worker works, and what a job asks of one: frozen, and JSON for those that work in other processes. No torch."""

from __future__ import annotations

import os
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from trimtab.run.guards import Limits
from trimtab.spec.budget import Budget
from trimtab.spec.options import Mode
from trimtab.spec.probe import Probe
from trimtab.tuning.run_state import TOGETHER


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WorkerSpec(_Spec):
    """`method` and `bf16`: as the untouched base is measured, so as the runs will train it; `together`: runs of one
    cohort, at most; `own`: a person's probes; `shares_every` and `share_start` as in run/cohort.py."""

    task: str = "sft"
    method: str = "lora"
    bf16: bool | None = None
    mode: Mode = "fast"
    budget: Budget = Field(default_factory=Budget)  # no limits
    limits: Limits = Field(default_factory=Limits)
    save_every: float = 60.0  # seconds
    together: int = TOGETHER
    shares_every: int = 0
    share_start: bool = True
    own: tuple[Probe, ...] = ()
    guard: bool = True  # stop runs that leave the budget
    adapts: bool = False  # its threads, at each cohort, to the cores that are free

    @property
    def stopping(self) -> Budget:
        """The limits that end a run."""
        return self.budget if self.guard else Budget()


class JobSpec(_Spec):
    """`where`: the folder that names of models and data may be relative to; `against`, `both`: the race, see
    tuning/race.py; None: none."""

    model: str
    data: str
    threads: int
    worker: WorkerSpec
    where: str = Field(default_factory=os.getcwd)
    against: tuple[str, ...] | None = None
    both: bool = False

    def but(self, **changes: Any) -> JobSpec:
        return self.model_copy(update=changes)

    def as_json(self) -> dict[str, Any]:
        """As the queue keeps it."""
        return self.model_dump(mode="json")

    @property
    def machine_part(self) -> JobSpec:
        """What is equal for the jobs of one study: a worker keeps its model for these."""
        return self.but(against=None, both=False)
