"""Training without a model: a run's loss is a smooth function of its settings, so the right decision is known."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from trimtab.planning.facts import Facts
from trimtab.spec.budget import Budget
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Cause, Status
from trimtab.spec.study import DesignAsked, InsideAsked, PathAsked, SearchAsked, TuneAsked
from trimtab.store import Store
from trimtab.tuning.desk import Desk
from trimtab.tuning.run_state import outcome

BASE = Recipe(model="m", data="d", learning_rate=1e-3)
FACTS = Facts(
    model="m",
    model_name="m",
    family="llama",
    parameters=10**8,
    hidden_size=1000,
    positions=2048,
    data="d",
    examples=400,
    tokens=20_000,
    label_tokens=9_000,
    length_99=60,
    length_max=64,
    device="cpu",
    memory_gib=8,
    bf16=False,
)
ASKED = {
    "tune": TuneAsked(model="m", data="d", budget=Budget()),
    "scan": DesignAsked(kind="scan", model="m", data="d", cells=(BASE,), seeds=(1,)),
    "search": SearchAsked(model="m", data="d", base=BASE, space=(), sampler="random"),
    "path": PathAsked(model="m", data="d", runs=("a", "b")),
    "inside": InsideAsked(model="m", data="d", run="r"),
}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def desk_of(folder, kind, trainer=None, study="s", **how):
    """A study of this kind at a desk where nothing is trained; `trainer` is a FakeTrainer class. What is said is at
    `said` of it."""
    store, clock, said = Store(folder), Clock(), []
    store.open_study(ASKED[kind], study)
    fake = (trainer or FakeTrainer)(store, study, clock=clock, **how)
    desk = Desk(fake, fake, store, study, said.append, clock)
    desk.said = said
    return desk


ITEMS = [random.Random(9).gauss(0, 0.1) for _ in range(30)]


class FakeTrainer:
    """`best_rate` has the lowest loss; `breach_above` is where the budget is left; `die_after` trainings it is
    killed."""

    def __init__(self, store, study, best_rate=1e-3, breach_above=math.inf, die_after=None, clock=None):
        self.store, self.study, self.best_rate, self.breach_above = store, study, best_rate, breach_above
        self.die_after, self.clock, self.trained = die_after, clock, []

    def facts(self):
        return FACTS

    def forecaster(self):
        return None

    def table_lines(self, table):
        return [f"Data: {table['name']}"]

    def describe_data(self, recipe):
        return {
            "name": "d",
            "form": "messages",
            "examples": {"train": 400},
            "split": "seed 0",
            "dropped_empty": 0,
            "dropped_all_masked": 0,
            "tokens": 20_000,
            "masked_share": 0.5,
            "lengths": {"50": 40},
            "max_length": recipe.max_length,
            "cut_examples": 0,
            "template": "its own",
            "first": [["hi", False], ["ho", True]],
        }

    def measure_base(self, _recipe):
        return {
            "numbers": {"exact_match": [0.0] * 20, "overlap": [0.1] * 20},
            "answers": [],
            "answer_seconds": 0.5,
            "card_seconds": {"short": 1.5, "card": 1.5},
            "metric": "exact_match",
        }

    def flops(self):
        return math.inf

    def seconds_per_size(self, _recipe):
        return 0.001

    def untouched(self, _recipe):
        return [9.0 + n for n in ITEMS]

    def loss(self, recipe):
        off = math.log(recipe.learning_rate / self.best_rate) ** 2 / 4
        return 1.0 + off + 0.3 / recipe.num_train_epochs + 0.01 * recipe.effective_batch + 0.001 * recipe.seed

    def items(self, recipe, share):
        return [self.loss(recipe) * (2 - share) + n for n in ITEMS]

    def train(self, recipes, race=None, reopen=False):
        rows = [self.store.add_run(r, self.study) for r in recipes]
        waiting = [
            r.recipe for r in rows if not r.status.is_finished() or (reopen and r.result.get("cause") == Cause.RACE)
        ]
        alive = {r.run_id: r for r in waiting}
        for share in (0.5, 1.0) if waiting else ():
            items = {run: self.items(r, share) for run, r in alive.items()}
            for run, values in items.items():
                self.store.log_evaluation(
                    run=run,
                    step=int(share * 100),
                    share=share,
                    loss=sum(values) / 30,
                    items=values,
                    pulse={"kl_pulse": [alive[run].learning_rate * 10] * 8},
                )
            for run, why in (race.losers(self.store, share, items) if race else {}).items():
                self.finish(alive.pop(run), Status.STOPPED, why, Cause.RACE)
        for r in alive.values():
            breached = r.learning_rate > self.breach_above
            self.finish(
                r,
                Status.STOPPED if breached else Status.COMPLETE,
                "outside" if breached else None,
                Cause.GUARD if breached else None,
            )
        return [outcome(self.store, self.store.run(r.run_id)) for r in recipes]

    def finish(self, recipe, status, reason, cause):
        if self.die_after is not None and len(self.trained) >= self.die_after:
            raise KeyboardInterrupt
        self.trained.append(recipe.run_id)
        seconds = 20 * recipe.num_train_epochs
        if self.clock:
            self.clock.now += seconds
        self.store.update_run(
            recipe.run_id,
            status=status,
            reason=reason,
            result={"size": int(20_000 * recipe.num_train_epochs), "seconds": seconds, "cause": cause},
        )

    def measure_task(self, recipes):
        return {r.run_id: {"exact_match": [1.0, 0.0] * 10, "overlap": [0.5] * 20} for r in recipes}

    def card(self, _recipe, _level="card", whole=False, seconds=math.inf):  # noqa: ARG002
        kept = {"number": "refusal", "verdict": "PASS", "hard": True, "value": 0.0}
        return {"verdict": "PASS", "rows": [kept]}

    def side(self, _recipe):
        return {}

    def screen(self, recipes):
        return [self.loss(r) for r in recipes]


class FakeWorker(FakeTrainer):
    """The same in the place of workers/worker.Worker: what the api makes, asks and measures with."""

    def __init__(self, store, material, machine, watcher, spec, study=None):
        super().__init__(store, study)
        self.material, self.machine, self.watcher, self.spec, self.model = (
            material,
            machine,
            watcher,
            spec,
            material.model,
        )

    @property
    def meter(self):
        return self

    def lacks(self):
        return {}

    def facts(self):
        named = {"model": self.model, "data": self.material.data, "fingerprint": self.material.fingerprint}
        return replace(super().facts(), **named)


@pytest.fixture
def nothing_trained(monkeypatch):
    """Whatever a command asks for is answered by a FakeWorker."""
    monkeypatch.setattr("trimtab.workers.worker.Worker", FakeWorker)
