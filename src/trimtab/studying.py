"""The study verbs as a program calls them: scan, ablate, batch, factorial, repeat, search, path; resume, extend, stop. Plain values in and out."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.errors import SpecError, StoreError
from trimtab.folder import DEFAULT_OUT, opened, typed
from trimtab.plan import design as designs
from trimtab.plan.design import Cell, Design
from trimtab.spec.budget import Budget
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import LEVELS, Status
from trimtab.spec.yaml_file import load_budget, load_recipe

if TYPE_CHECKING:
    from trimtab.store import Store, StudyRow
    from trimtab.tune.lab import Lab
    from trimtab.tune.worker import Worker

KINDS = ("scan", "ablate", "batch", "factorial", "repeat")
STOPPED = "stopped on request"


@dataclass(frozen=True)
class How:
    """What every study takes: where it is kept, where it is trained, and the budget (a preset, a file, or one that was read)."""

    out: Path = DEFAULT_OUT
    budget: str | Path | Budget | None = None
    yes: bool = False  # also more runs than a person would expect
    on: str | None = None
    workers: int | None = None
    cohort: int | None = None  # runs trained together, at most
    card: str | None = None  # the level at which every complete run is measured
    trunk: bool = True  # runs that differ only in length share their first steps
    race: bool = True  # a search stops early what is clearly worse

    def __post_init__(self) -> None:
        """SpecError with all that is wrong, before anything is opened."""
        problems = (
            [f"--workers: got {self.workers}; at least 1"] if self.workers is not None and self.workers < 1 else []
        )
        if self.cohort is not None and self.cohort < 1:
            problems.append(f"--cohort: got {self.cohort}; at least 1, which trains runs one after another")
        if self.on:
            from trimtab.tune.launch import where_problems

            problems += where_problems(self.on)
        if self.card not in (None, *LEVELS):
            problems.append(f'--card: got "{self.card}"; allowed are {", ".join(LEVELS)}')
        if problems:
            raise SpecError("trimtab study", problems)

    def limits(self) -> Budget | None:
        return self.budget if isinstance(self.budget, Budget) or self.budget is None else load_budget(self.budget)

    def typed(self) -> list[str]:
        """As options, for the command that gives this study again."""
        named = {"--budget": self.budget if not isinstance(self.budget, Budget) else self.budget.name, "--on": self.on, "--workers": self.workers, "--cohort": self.cohort}  # fmt: skip
        found = [x for k, v in named.items() if v is not None for x in (k, str(v))]
        found += ["--card", self.card] if self.card else []
        found += [] if self.trunk else ["--no-trunk"]
        found += [] if self.race else ["--no-race"]
        return found + (["--yes"] if self.yes else []) + (["--out", str(self.out)] if self.out != DEFAULT_OUT else [])


def design(kind: str, recipe: str | Path | Recipe, vary: Sequence[str], seeds: int, scale: str = "sqrt") -> Design:
    """`vary`: setting=value,value for scan and factorial; names for ablate; effective batches for batch; nothing for repeat."""
    if kind not in KINDS:
        raise SpecError("trimtab study", [f'got "{kind}"; there are {", ".join(KINDS)}'])
    base = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    if kind == "repeat":
        return designs.repeat(base, seeds)
    if kind == "ablate":
        return designs.ablate(base, [n for item in vary for n in item.split(",") if n], seeds)
    if kind == "batch":
        if scale not in ("sqrt", "linear", "none"):
            raise SpecError("--scale-lr", [f'got "{scale}"; allowed are sqrt, linear, none'])
        sizes = designs.read_levels(base, [f"{designs.EFFECTIVE}={','.join(vary)}"])[designs.EFFECTIVE]
        return designs.batch(base, sizes, scale, seeds)  # type: ignore[arg-type]
    levels = designs.read_levels(base, vary, fewest=2 if kind == "factorial" else 1)
    return designs.factorial(base, levels, seeds) if kind == "factorial" else designs.scan(base, levels, seeds)


def study(
    kind: str, recipe: str | Path | Recipe, vary: Sequence[str], seeds: int, scale: str, how: How, watcher: Any
) -> dict[str, Any]:
    """Carry a study out, or go on with it, or look it up."""
    made = design(kind, recipe, vary, seeds, scale)
    return _carry_out(made, how, _command(kind, recipe, vary, seeds, scale, how), watcher)


def _carry_out(made: Design, how: How, command: str, watcher: Any) -> dict[str, Any]:
    limits, base = how.limits(), made.baseline.recipe
    with opened(how.out) as store:
        from trimtab.tune.inquiry import Inquiry

        worker = _worker(store, base, limits, how, watcher)
        if len(made.recipes()) > designs.RUNS and not how.yes:
            _ask_to_confirm(made, worker)
        made = replace(made, cells=tuple(replace(c, recipe=worker.material.named_in(c.recipe)) for c in made.cells))
        asked = {
            "kind": made.kind, "model": base.model, "data": base.data, "fingerprint": worker.material.fingerprint,
            "cells": [c.recipe.model_dump(mode="json") for c in made.cells], "seeds": list(made.seeds), "budget": limits and limits.model_dump(mode="json"),
        }  # fmt: skip
        told = {"question": made.question, "held": list(made.held), "changed": [dict(c.changed) for c in made.cells]}
        name = _open(store, worker, asked, {**told, "card": how.card, "command": command})
        lab = _lab(
            worker, how, max((c.recipe for c in made.cells), key=lambda r: r.per_device_train_batch_size * r.max_length)
        )
        bf16 = worker.machine.in_bf16(base.bf16)
        return {**Inquiry(lab, store, name, made, bf16, watcher.note, cards=how.card).run(), "study": name}


def _ask_to_confirm(made: Design, worker: Worker) -> None:
    """SpecError with what so many runs would take, by a few timed micro-batches; nothing was kept."""
    from trimtab.tune import cost
    from trimtab.tune.budgeting import in_words

    runs = made.recipes()
    seconds = cost.pace(cost.measured(worker, runs[0]), runs[0]).seconds(runs)
    told = f"is {len(runs):,} runs, about {in_words(seconds)} one after another"
    raise SpecError("the study", [f"{told}; confirm with --yes, or give fewer values or seeds"])


def search(
    recipe: str | Path | Recipe, space: str | Path | None, sampler: str, trials: int, seconds: float | None, screen: bool, how: How, watcher: Any
) -> dict[str, Any]:  # fmt: skip
    """A search by one of Optuna's samplers, or its continuation; without a space file over the plan's ranges."""
    from trimtab.plan.space import read_space

    _check_search(sampler, trials)
    base = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    given = read_space(space, base) if space else None
    typed = ["trimtab", "study", "search", _file_of(recipe), *(["--space", str(space)] if space else [])]
    typed += ["--sampler", sampler, "--trials", str(trials), *(["--screen"] if screen else []), *how.typed()]
    return _search(base, given, sampler, trials, seconds, screen, how, shlex.join(typed), watcher)


def _check_search(sampler: str, trials: int) -> None:
    from trimtab.tune.search import SAMPLERS

    problems = [] if sampler in SAMPLERS else [f'--sampler: got "{sampler}"; allowed are {", ".join(SAMPLERS)}']
    problems += [] if trials >= 1 else [f"--trials: got {trials}; at least 1"]
    if problems:
        raise SpecError("trimtab study search", problems)


def _search(
    base: Recipe, space: Any, sampler: Any, trials: int, seconds: float | None, screen: bool, how: How, command: str, watcher: Any
) -> dict[str, Any]:  # fmt: skip
    limits = how.limits() or Budget()  # no limits
    with opened(how.out) as store:
        from trimtab.plan.plan import make_plan
        from trimtab.plan.space import of_plan
        from trimtab.tune.search import Search

        worker = _worker(store, base, limits, how, watcher)
        base = worker.material.named_in(base)
        if space is None:
            own = {"trainer": "trimtab", "method": base.method}
            space = of_plan(make_plan(worker.facts(), own, worker.ask()).settings, base)
        asked = {
            "kind": "search", "model": base.model, "data": base.data, "fingerprint": worker.material.fingerprint, "base": base.model_dump(mode="json"),
            "space": [vars(d) | {"values": list(d.values)} for d in space], "sampler": sampler, "budget": limits.model_dump(mode="json"),
        }  # fmt: skip
        name = _open(store, worker, asked, {"command": command})
        _say_changed(store.study(name).facts, {"screen": screen, "race": how.race}, watcher.note)
        store.update_study(name, facts={"trials": trials, "limit": seconds, "screen": screen, "race": how.race})
        made = Search(
            _lab(worker, how, base),
            store,
            name,
            base,
            space,
            sampler,
            trials,
            seconds,
            limits,
            watcher.note,
            screen=screen,
            race=how.race,
            bf16=worker.machine.in_bf16(base.bf16),
        )
        return {**made.run(), "study": name}


def _say_changed(facts: Mapping[str, Any], options: Mapping[str, bool], say: Callable[[str], None]) -> None:
    """A search goes on under other options; what it has trained stays as it is."""
    for name, value in options.items():
        if facts.get(name, value) != value:
            say(f"This search was begun with{'out' if value else ''} a {name}; its trials so far stay as they are")


def _worker(store: Store, base: Recipe, limits: Budget | None, how: How, watcher: Any) -> Worker:
    from trimtab.run import machine, material
    from trimtab.tune.booking import TOGETHER
    from trimtab.tune.worker import Worker

    what, here = material.gather(base.model, base.data, watcher.note), machine.look()
    bf16 = here.in_bf16(base.bf16)
    return Worker(
        store,
        what,
        here,
        watcher,
        limits,
        None,
        method=base.method,
        bf16=bf16,
        most=how.cohort or TOGETHER,
        trunk=how.trunk,
    )


def _lab(worker: Worker, how: How, largest: Recipe) -> Lab:
    from trimtab.tune import places

    return places.lab(worker, how.on, how.workers, largest)


def _open(store: Store, worker: Worker, asked: dict[str, Any], told: Mapping[str, Any]) -> str:
    """The study's name, by what was asked; opened, or open again."""
    from trimtab.run import machine

    name = f"{asked['kind']}-" + hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]
    worker.study = name
    store.open_study(name, {**asked, **told, "machine": worker.machine.as_dict(), "versions": machine.versions()})
    return name


def path(first: str, second: str, how: How, watcher: Any) -> dict[str, Any]:
    """From one run to another, one setting at a time."""
    with opened(how.out) as store:
        from trimtab.tune.path import Path as Walk
        from trimtab.tune.path import differences

        a, b = store.find_run(first).recipe, store.find_run(second).recipe
        differences(a, b)
        worker = _worker(store, a, how.limits(), how, watcher)
        asked = {
            "kind": "path",
            "model": a.model,
            "data": a.data,
            "fingerprint": a.fingerprint,
            "runs": [a.run_id, b.run_id],
            "budget": None,
        }
        command = shlex.join(["trimtab", "study", "path", first, second, *how.typed()])
        name = _open(store, worker, asked, {"command": command})
        return {**Walk(_lab(worker, how, a), store, name, a, b, watcher.note).run(), "study": name}


# going on


def resume(found: StudyRow, how: How, watcher: Any) -> dict[str, Any]:
    """Go on with a study that was stopped or cut short, as it was asked for."""
    how = replace(how, budget=_budget(found), yes=True, card=found.asked.get("card"))
    if found.asked["kind"] == "path":
        first, second = found.asked["runs"]
        return path(first, second, how, watcher)
    if found.asked["kind"] != "search":
        return _carry_out(_design(found), how, found.asked["command"], watcher)
    trials, seconds = found.facts["trials"], found.facts["limit"]
    return _search_again(found, trials, seconds, how, watcher)


def extend(
    found: StudyRow, vary: Sequence[str], seeds: int | None, trials: int | None, how: How, watcher: Any
) -> dict[str, Any]:
    """More seeds, more values of a scan, or more trials of a search; what was run already is only looked up."""
    kind = found.asked["kind"]
    if kind == "path":
        raise SpecError(f"trimtab study extend {found.id}", ["a path has nothing to be extended by"])
    problems = _wrong_extension(found, vary, seeds, trials)
    if problems:
        raise SpecError(f"trimtab study extend {found.id}", problems)
    how = replace(how, budget=_budget(found), card=found.asked.get("card"))
    if kind == "search":
        assert trials
        return _search_again(found, trials, None, how, watcher)
    made = _design(found)
    base = made.baseline.recipe
    if vary:
        more = designs.scan(base, designs.read_levels(base, vary), 1)
        known = {c.recipe for c in made.cells}
        made = replace(
            made,
            cells=(*made.cells, *(c for c in more.cells if c.recipe not in known)),
            held=tuple(dict.fromkeys((*made.held, *more.held))),
        )
    if seeds:
        made = replace(made, seeds=designs.seeds_of(base, max(seeds, len(made.seeds))))
    typed = [
        "trimtab",
        "study",
        "extend",
        found.id,
        *vary,
        *(["--seeds", str(seeds)] if seeds else []),
        *replace(how, budget=None).typed(),
    ]
    return _carry_out(made, how, shlex.join(typed), watcher)


def _wrong_extension(found: StudyRow, vary: Sequence[str], seeds: int | None, trials: int | None) -> list[str]:
    kind = found.asked["kind"]
    if kind == "search":
        if not trials or vary or seeds:
            return ["a search is extended with --trials N"]
        known = found.facts["trials"]
        return [] if trials > known else [f"--trials: got {trials}, and {known} were asked for already; give more"]
    problems = ["--trials is for a search; give --seeds N"] if trials else []
    known = len(found.asked["seeds"])
    if seeds is not None and seeds <= known and not vary:
        problems.append(f"--seeds: got {seeds}, and every cell has {known} already; give more")
    problems += (
        ["takes more seeds, not more values; start a new one: its runs are looked up"]
        if vary and kind != "scan"
        else []
    )
    return problems or (
        [] if vary or seeds else ["say by what: --seeds N, setting=value for a scan, --trials N for a search"]
    )


def _search_again(found: StudyRow, trials: int, seconds: float | None, how: How, watcher: Any) -> dict[str, Any]:
    from trimtab.plan.space import Dimension

    space = tuple(Dimension(**{**d, "values": tuple(d["values"])}) for d in found.asked["space"])
    base = Recipe.model_validate(found.asked["base"])
    how = replace(how, race=found.facts.get("race", True))
    return _search(
        base,
        space,
        found.asked["sampler"],
        trials,
        seconds,
        bool(found.facts.get("screen")),
        how,
        found.asked["command"],
        watcher,
    )


def _design(found: StudyRow) -> Design:
    """As it was asked for."""
    a = found.asked
    if "changed" not in a:
        raise StoreError(f"{found.id} was made by an earlier trimtab; go on with: {a['command']}")
    cells = tuple(Cell(c, Recipe.model_validate(r)) for c, r in zip(a["changed"], a["cells"], strict=True))
    return Design(a["kind"], a["question"], cells, tuple(a["seeds"]), tuple(a["held"]))


def _budget(found: StudyRow) -> Budget | None:
    return Budget.model_validate(found.asked["budget"]) if found.asked["budget"] else None


def stop(study: str | None, out: str | Path) -> dict[str, Any]:
    """Asks whoever trains it to stop; nothing that was saved is lost. {"study", "stopping"}: the runs that were under way."""
    with opened(out, create=False) as store:
        found = store.find_study(study)
        if found.status == Status.COMPLETE:
            raise StoreError(f"{found.id} is complete; there is nothing to stop")
        if found.status == Status.STOPPED and found.facts.get("owner") is None:
            raise StoreError(f"{found.id} is stopped already; go on with: {typed('study resume', found.id, out)}")
        store.update_study(found.id, status=Status.STOPPED)
        store.queue.cancel(found.id, STOPPED)
        open_runs = [r.id for r in store.runs(found.id) if not r.status.is_finished()]
        for run in open_runs:
            store.ask_stop(run, STOPPED)
        return {"study": found.id, "stopping": open_runs}


def _file_of(recipe: str | Path | Recipe) -> str:
    return "RECIPE.yaml" if isinstance(recipe, Recipe) else str(recipe)


def _command(kind: str, recipe: Any, vary: Sequence[str], seeds: int, scale: str, how: How) -> str:
    options = ["--without", ",".join(vary)] if kind == "ablate" else [",".join(vary)] if kind == "batch" else list(vary)
    options += ["--scale-lr", scale] if kind == "batch" and scale != "sqrt" else []
    return shlex.join(["trimtab", "study", kind, _file_of(recipe), *options, "--seeds", str(seeds), *how.typed()])
