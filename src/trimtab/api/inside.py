"""The verb that brings a run inside its budget. Plain values in, data out; rooms that load torch are imported late."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from trimtab.errors import SpecError, StoreError
from trimtab.spec import durations
from trimtab.spec.budget import Budget
from trimtab.spec.numbers import number_of
from trimtab.spec.options import DEFAULT_OUT, StudyOptions, where_problems
from trimtab.spec.progress import SILENT, Progress
from trimtab.spec.recipe import Recipe
from trimtab.spec.results import InsideResult
from trimtab.spec.status import Cause
from trimtab.spec.study import InsideAsked
from trimtab.spec.words import words_of
from trimtab.spec.yaml_file import dump, load_budget
from trimtab.store.folder import opened

if TYPE_CHECKING:
    from trimtab.planning.remedies import Places
    from trimtab.store import RunRow, Store


def inside(
    run: str,
    *,
    budget: str | Path | Budget | None = None,
    seconds: float | None = None,
    out: str | Path = DEFAULT_OUT,
    on: str | None = None,
    workers: int | None = None,
    watcher: Progress = SILENT,
) -> InsideResult:
    """Walk the remedies, cheapest first, until one is inside the budget and keeps nine tenths of the gain; started
    again, it goes on or looks it up. `budget`: the run's own, else standard; `seconds`: rungs that would not fit are
    left out; `on`, `workers`: where remedies are trained, as in StudyOptions. Gives the rungs, what is recommended
    (None: nothing is) and the page's path.

    Raises StoreError for a run that has left no weights, SpecError for a budget that nothing could decide.
    """
    from trimtab.api.card import budget_of
    from trimtab.tuning.ladder import places_of_run

    if problems := where_problems(on, workers):
        raise SpecError("trimtab inside", problems)
    with opened(out, create=False) as store:
        row = store.find_run(run)
        limits = budget if isinstance(budget, Budget) else load_budget(budget) if budget else budget_of(store, row)
        if not any(limit.hard for limit in limits.limits.values()):
            raise SpecError(f"budget {limits.name}", ["has no hard limit, so every run is inside it; make one hard"])
        _need_a_limit(limits, row.recipe.task)
        places = places_of_run(store, row.id)
        if not row.status.is_finished() or row.result.get("cause") in (Cause.LIMIT, Cause.ASKED, Cause.ERROR):
            why = row.reason or row.status.lower()
            raise StoreError(f"run {row.id} has not come to its end ({why}); go on with it first: trimtab train")
        command = _command(run, budget, seconds, out)
        return _walk(store, row, limits, places, seconds, command, StudyOptions(on=on, workers=workers), watcher)


def _walk(
    store: Store,
    row: RunRow,
    limits: Budget,
    places: Places,
    seconds: float | None,
    command: str,
    options: StudyOptions,
    watcher: Progress,
) -> InsideResult:
    from trimtab.api.study import about
    from trimtab.api.tune import can_be_kept
    from trimtab.run import machine, material
    from trimtab.tuning.desk import Desk
    from trimtab.tuning.ladder import Ladder
    from trimtab.workers import placement
    from trimtab.workers.specs import WorkerSpec
    from trimtab.workers.worker import Worker

    recipe, here = row.recipe, machine.look()
    what = material.load_material(recipe.model, recipe.data, watcher.note, task=recipe.task)
    recipe = what.named_in(recipe)
    # A remedy that is outside half-way may be inside at its end: nobody is stopped.
    spec = WorkerSpec(
        task=recipe.task, method=recipe.method, bf16=recipe.bf16, budget=limits, guard=False, adapts=True
    )  # fmt: skip
    worker = Worker(store, what, here, watcher, spec)
    asked = InsideAsked(**about(worker, recipe, limits, command), run=row.id)
    worker.study = asked.name()  # before anything is measured for it
    can_be_kept(limits, worker.meter, watcher.note)
    study = store.open_study(asked).id
    _need_folder(store.folder / study)
    trainer = placement.trainer(worker, options.on, options.workers, recipe)
    desk = Desk(trainer, worker, store, study, watcher.note)
    ladder = Ladder(desk, recipe, limits, places, seconds)
    if not ladder.fits():
        given, need = (durations.in_words(s) for s in (seconds or 0, ladder.least() + desk.seconds()))
        raise SpecError("--time", [f"{given} are too short: the first step takes about {need} here"])
    result = ladder.run()
    result["next"] = _next(result, command, desk.seconds())
    return cast(InsideResult, {**result, "study": study, "report": str(_hand_over(store, study, result))})


def _need_a_limit(budget: Budget, task: str) -> None:
    """A hard one, on a number that a card of this task judges."""
    judged = words_of(task).judged
    if judged and not any(v.hard for k, v in budget.limits.items() if number_of(k).group in judged):
        raise SpecError(
            f"budget {budget.name}",
            [
                f"has no hard limit on what a card of {task} judges ({' and '.join(judged)}), so every run is inside"
                " it; give a file with one, as in limits: {label_brier: {max: 0.02, hard: true}}"
            ],
        )


def _need_folder(folder: Path) -> None:
    """Where the page will lie: said before the walk, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be made ({error.strerror}): the page is written there") from None


def _next(result: dict[str, Any], command: str, used: float) -> str:
    """What to type: to look at what is recommended, or to try what there was no time for; empty where neither is."""
    words = shlex.split(command)
    for flag in ("--budget", "--time") if result["recommended"] else ("--time",):
        if flag in words:
            del words[(at := words.index(flag)) : at + 2]
    if best := result["recommended"]:
        return shlex.join(["trimtab", "review", best["run"], *words[3:]])
    if left := sum(rung.get("need", 0.0) for rung in result["rungs"]):
        return shlex.join([*words, "--time", durations.typed(math.ceil(used + 1.2 * left))])
    return ""


def _hand_over(store: Store, study: str, result: dict[str, Any]) -> Path:
    """recipe.yaml and adapter/ of what is recommended, if anything is, and the report."""
    from trimtab.reporting.inside import write_inside
    from trimtab.spec.files import write_whole

    folder = store.folder / study
    write_whole(folder / "run.yaml", dump(Recipe.model_validate(result["start"]["recipe"])))
    if best := result["recommended"]:
        from trimtab.api.tune import copy_weights

        write_whole(folder / "recipe.yaml", dump(Recipe.model_validate(best["recipe"])))
        copy_weights(store.folder / "runs" / best["run"] / "best", folder)
    return write_inside({**result, "study": study, "asked": store.study(study).asked.model_dump(mode="json")}, folder)


def _command(run: str, budget: str | Path | Budget | None, seconds: float | None, out: str | Path) -> str:
    words = ["trimtab", "inside", run]
    words += ["--budget", budget.name if isinstance(budget, Budget) else str(budget)] if budget else []
    words += ["--time", durations.typed(seconds)] if seconds else []
    return shlex.join([*words, *(["--out", str(out)] if Path(out) != DEFAULT_OUT else [])])
