"""The study verbs: scan, ablate, batch, factorial, repeat, search, path. Plain values and StudyOptions in, data out."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from trimtab.errors import SpecError
from trimtab.forecasting.source import sized
from trimtab.planning import design as designs
from trimtab.planning.design import Design
from trimtab.spec.budget import Budget
from trimtab.spec.options import StudyOptions
from trimtab.spec.progress import SILENT, Progress
from trimtab.spec.recipe import Recipe
from trimtab.spec.results import StudyResult
from trimtab.spec.study import (
    DESIGNS,
    Asked,
    DesignAsked,
    DesignKind,
    PathAsked,
    SearchAsked,
    SearchFacts,
)
from trimtab.spec.yaml_file import load_budget, load_recipe
from trimtab.store.folder import opened

if TYPE_CHECKING:
    from trimtab.store import Store
    from trimtab.tuning.desk import Desk
    from trimtab.tuning.search import Sampler
    from trimtab.workers.worker import Worker

STOPPED = "stopped on request"
RecipeLike = str | Path | Recipe


def study(
    kind: DesignKind,
    recipe: RecipeLike,
    vary: Sequence[str] = (),
    *,
    seeds: int = 2,
    scale_lr: str = "sqrt",
    options: StudyOptions = StudyOptions(),
    watcher: Progress = SILENT,
) -> StudyResult:
    """Carry a designed study out, or go on with it, or look it up.

    `vary`: setting=value,value for scan and factorial; names for ablate; effective batches for batch; nothing for
    repeat. Gives {"cells", "sentence", …}: each cell against the first on the same items and seeds, with an
    interval. Raises SpecError with every problem.
    """
    made = design(kind, recipe, vary, seeds, scale_lr)
    return carry_out(made, options, _command(kind, recipe, vary, seeds, scale_lr, options), watcher)


def design(kind: str, recipe: RecipeLike, vary: Sequence[str], seeds: int, scale: str = "sqrt") -> Design:
    """The cells and seeds of a question, as `study` would run them; nothing is trained."""
    if kind not in DESIGNS:
        raise SpecError("trimtab study", [f'got "{kind}"; there are {", ".join(DESIGNS)}'])
    base = sized(recipe if isinstance(recipe, Recipe) else load_recipe(recipe))
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


def carry_out(made: Design, options: StudyOptions, command: str, watcher: Progress) -> StudyResult:
    limits, base = _limits(options), made.baseline.recipe
    with opened(options.out) as store:
        from trimtab.tuning.designed_study import DesignedStudy

        worker = _worker(store, base, limits, options, watcher)
        if len(made.recipes()) > designs.RUNS and not options.yes:
            _ask_to_confirm(made, worker)
        made = replace(made, cells=tuple(replace(c, recipe=worker.material.named_in(c.recipe)) for c in made.cells))
        asked = DesignAsked(
            kind=made.kind,
            **about(worker, base, limits, command),
            cells=tuple(c.recipe for c in made.cells),
            seeds=made.seeds,
            question=made.question,
            held=made.held,
            changed=tuple(dict(c.changed) for c in made.cells),
            card=options.card,
        )
        largest = max((c.recipe for c in made.cells), key=lambda r: r.per_device_train_batch_size * r.max_length)
        desk = _desk(store, worker, options, asked, largest)
        bf16 = worker.machine.in_bf16(base.bf16)
        return {**DesignedStudy(desk, made, bf16, cards=options.card).run(), "study": desk.study}  # type: ignore[typeddict-item]


def _ask_to_confirm(made: Design, worker: Worker) -> None:
    """SpecError with what so many runs would take, by a few timed micro-batches; nothing was kept."""
    from trimtab.spec.durations import in_words
    from trimtab.tuning.study_cost import pace, timed

    runs = made.recipes()
    seconds = pace(timed(worker, runs[0])).seconds(runs)
    told = f"is {len(runs):,} runs, about {in_words(seconds)} one after another"
    raise SpecError("the study", [f"{told}; confirm with --yes, or give fewer values or seeds"])


def search(
    recipe: RecipeLike,
    *,
    space: str | Path | None = None,
    sampler: str = "tpe",
    trials: int = 20,
    seconds: float | None = None,
    screen: bool = False,
    options: StudyOptions = StudyOptions(),
    watcher: Progress = SILENT,
) -> StudyResult:
    """A search over a space (a YAML file, or the plan's ranges) by "tpe", "gp", "cmaes", "nsga2", "random" or "grid".

    Gives {"trials", "best", "front", "sentence", …}. Goes on where it stopped; more `trials` continue it. Raises
    SpecError.
    """
    from trimtab.planning.space import read_space

    _check_search(sampler, trials)
    base = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    given = read_space(space, base) if space else None
    words = ["trimtab", "study", "search", _file_of(recipe), *(["--space", str(space)] if space else [])]
    words += ["--sampler", sampler, "--trials", str(trials), *(["--screen"] if screen else []), *options.typed()]
    return search_of(base, given, sampler, trials, seconds, screen, options, shlex.join(words), watcher)


def _check_search(sampler: str, trials: int) -> None:
    from trimtab.tuning.search import SAMPLERS

    problems = [] if sampler in SAMPLERS else [f'--sampler: got "{sampler}"; allowed are {", ".join(SAMPLERS)}']
    problems += [] if trials >= 1 else [f"--trials: got {trials}; at least 1"]
    if problems:
        raise SpecError("trimtab study search", problems)


def search_of(
    base: Recipe,
    space: Any,
    sampler: str,
    trials: int,
    seconds: float | None,
    screen: bool,
    options: StudyOptions,
    command: str,
    watcher: Progress,
) -> StudyResult:
    limits = _limits(options) or Budget()  # no limits
    with opened(options.out) as store:
        from trimtab.planning.plan import make_plan
        from trimtab.planning.space import of_plan
        from trimtab.tuning.search import Search

        worker = _worker(store, base, limits, options, watcher)
        base = worker.material.named_in(base)
        if space is None:
            own = {"trainer": "trimtab", "method": base.method}
            space = of_plan(make_plan(worker.facts(), own, worker.forecaster()).settings, base)
        dimensions = tuple(vars(d) | {"values": list(d.values)} for d in space)
        asked = SearchAsked(**about(worker, base, limits, command), base=base, space=dimensions, sampler=sampler)
        desk = _desk(store, worker, options, asked, base)
        known = desk.row.facts
        assert isinstance(known, SearchFacts)
        if known.trials is not None:
            _say_changed(known, {"screen": screen, "race": options.race}, watcher.note)
        asks = {"trials": trials, "limit": seconds, "screen": screen, "race": options.race}
        store.update_study(desk.study, facts=asks)
        made = Search(
            desk,
            base,
            space,
            cast("Sampler", sampler),
            trials,
            seconds,
            limits,
            screen,
            options.race,
            worker.machine.in_bf16(base.bf16),
        )
        return {**made.run(), "study": desk.study}  # type: ignore[typeddict-item]


def _say_changed(known: SearchFacts, options: Mapping[str, bool], say: Callable[[str], None]) -> None:
    """A search goes on under other options; what it has trained stays as it is."""
    for name, value in options.items():
        if getattr(known, name) != value:
            say(f"This search was begun with{'out' if value else ''} a {name}; its trials so far stay as they are")


def study_path(
    first: str, second: str, *, options: StudyOptions = StudyOptions(), watcher: Progress = SILENT
) -> StudyResult:
    """From one run to another, one setting at a time: {"steps", "sentence", …}; trains what is missing between them."""
    with opened(options.out) as store:
        from trimtab.tuning.ablation_path import AblationPath, differences

        a, b = store.find_run(first).recipe, store.find_run(second).recipe
        differences(a, b)
        worker = _worker(store, a, _limits(options), options, watcher)
        command = shlex.join(["trimtab", "study", "path", first, second, *options.typed()])
        kept = {**about(worker, a, None, command), "fingerprint": a.fingerprint}
        desk = _desk(store, worker, options, PathAsked(**kept, runs=(a.run_id, b.run_id)), a)
        return {**AblationPath(desk, a, b).run(), "study": desk.study}  # type: ignore[typeddict-item]


def _worker(store: Store, base: Recipe, limits: Budget | None, options: StudyOptions, watcher: Progress) -> Worker:
    from trimtab.run import machine, material
    from trimtab.tuning.run_state import TOGETHER
    from trimtab.workers.worker import Worker, WorkerSpec

    what, here = material.load_material(base.model, base.data, watcher.note, task=base.task), machine.look()
    spec = WorkerSpec(
        task=base.task, method=base.method, bf16=here.in_bf16(base.bf16), together=options.cohort or TOGETHER,
        share_start=options.share_start, budget=limits or Budget(), adapts=True,
    )  # fmt: skip
    return Worker(store, what, here, watcher, spec)


def about(worker: Worker, base: Recipe, limits: Budget | None, command: str) -> dict[str, Any]:
    """What every kind of study keeps."""
    from trimtab.run import machine

    return {
        "model": base.model,
        "data": base.data,
        "fingerprint": worker.material.fingerprint,
        "budget": limits,
        "command": command,
        "machine": worker.machine.as_dict(),
        "versions": machine.versions(),
    }


def _desk(store: Store, worker: Worker, options: StudyOptions, asked: Asked, largest: Recipe) -> Desk:
    """The study, opened or open again, and who trains it."""
    from trimtab.tuning.desk import Desk
    from trimtab.workers import placement

    row = store.open_study(asked)
    worker.study = row.id
    trainer = placement.trainer(worker, options.on, options.workers, largest)
    return Desk(trainer, worker, store, row.id, worker.watcher.note)


def _limits(options: StudyOptions) -> Budget | None:
    budget = options.budget
    return budget if isinstance(budget, Budget) or budget is None else load_budget(budget)


def _file_of(recipe: RecipeLike) -> str:
    return "RECIPE.yaml" if isinstance(recipe, Recipe) else str(recipe)


def _command(kind: str, recipe: RecipeLike, vary: Sequence[str], seeds: int, scale: str, options: StudyOptions) -> str:
    words = ["--without", ",".join(vary)] if kind == "ablate" else [",".join(vary)] if kind == "batch" else list(vary)
    words += ["--scale-lr", scale] if kind == "batch" and scale != "sqrt" else []
    return shlex.join(["trimtab", "study", kind, _file_of(recipe), *words, "--seeds", str(seeds), *options.typed()])
