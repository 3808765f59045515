"""The verbs that train: tune, explain, train. Plain values in, plain data out; rooms that load torch are imported
inside."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.datasets.columns import with_columns
from trimtab.errors import SpecError, StoreError, TrimtabError
from trimtab.forecasting.source import sized, task_by_model
from trimtab.spec import durations
from trimtab.spec.budget import Budget
from trimtab.spec.budget_check import broken_untouched, never_decided
from trimtab.spec.files import write_whole
from trimtab.spec.options import DEFAULT_OUT, Mode, mode_problems, where_problems
from trimtab.spec.progress import SILENT, Progress, Say
from trimtab.spec.recipe import Recipe
from trimtab.spec.results import Recommendation
from trimtab.spec.status import Status
from trimtab.spec.study import TuneAsked
from trimtab.spec.words import TRAINED_HERE
from trimtab.spec.yaml_file import dump, load_budget, load_recipe, own_settings
from trimtab.store.folder import opened

if TYPE_CHECKING:
    from trimtab.run.material import Material
    from trimtab.store import RunRow, Store
    from trimtab.tasks.task import Meter


def tune(
    model: str,
    data: str,
    *,
    budget: str | Path | Budget | None = None,
    seconds: float | None = None,
    out: str | Path = DEFAULT_OUT,
    own: Mapping[str, Any] | Sequence[str] = (),
    mode: Mode = "fast",
    also: Sequence[str] = (),
    on: str | None = None,
    workers: int | None = None,
    watcher: Progress = SILENT,
) -> Recommendation:
    """The main job. Gives the recommendation with "report" (a path) added; started again, it continues or looks it
    up.

    `own`: a person's settings, as a mapping or typed ("r=8"), which win and are not searched; `seconds`: how long it
    may take; `also`: "rank", "decay", tried after the epochs; `on`, `workers`: where runs are trained, as in
    StudyOptions. Raises SpecError with all that is wrong with what was asked, before anything is loaded.
    """
    data, own = with_columns(data, own)
    told = task_by_model(model, watcher.note)
    settings = with_task(model, own_settings(model, data, own, task=told), told, watcher.note)
    _check(also, settings, on, workers, mode)
    limits = budget if isinstance(budget, Budget) else load_budget(budget)
    with opened(out) as store:
        from trimtab.run import machine, material
        from trimtab.tuning.coach import Coach
        from trimtab.tuning.desk import Desk
        from trimtab.workers import placement
        from trimtab.workers.worker import Worker, WorkerSpec

        recipe = Recipe(model=model, data=data, **settings)
        what = material.load_material(model, data, watcher.note, task=recipe.task)
        command = _command(model, data, budget, seconds, out, settings, mode, also)
        asked = TuneAsked(
            model=model, data=data, fingerprint=what.fingerprint, budget=limits, seconds=seconds, own=settings,
            mode=mode, also=tuple(also), command=command, versions=machine.versions(),
        )  # fmt: skip
        study = asked.name()
        known = {s.id: s.asked.machine.get("threads") for s in store.studies()}
        here = machine.look(known.get(study))
        spec = WorkerSpec(
            task=recipe.task, method=settings.get("method", "lora"), bf16=settings.get("bf16"), mode=mode,
            budget=limits, adapts=mode == "fast",
        )  # fmt: skip
        worker = Worker(store, what, here, watcher, spec, study)
        can_be_kept(limits, worker.meter, watcher.note, begun=study in known)
        _need_space(Path(out), what.task.parameters(model, watcher.note))
        store.open_study(asked.model_copy(update={"machine": here.as_dict()}), study)
        _know_the_data(store, study, model, what, watcher.note)
        desk = Desk(placement.trainer(worker, on, workers, recipe), worker, store, study, watcher.note)
        result = Coach(
            desk, seconds, settings, also, lambda: placement.trainer(worker.unguarded(), on, workers, recipe)
        ).run()
        report = str(_hand_over(store, study, result))
        return {**result, "study": study, "report": report}  # type: ignore[typeddict-item]


def train(
    recipe: str | Path | Recipe,
    *,
    overrides: Sequence[str] = (),
    out: str | Path = DEFAULT_OUT,
    budget: str | Path | None = None,
    max_seconds: float | None = None,
    max_tokens: int | None = None,
    mode: Mode = "fast",
    gradient_shares: int = 0,
    watcher: Progress = SILENT,
) -> RunRow:
    """One run of one recipe, or its continuation; `overrides` as typed ("r=8"). `budget` adds the guard that stops
    it at two breaches in a row; `gradient_shares` N takes every Nth update example by example. A run that something
    else had stopped (a limit, a race, another budget) goes on; broken numbers do not. Raises SpecError for a recipe
    that cannot be, RunError for a run that cannot go on.
    """
    if problems := mode_problems(mode):
        raise SpecError("trimtab train", problems)
    spec = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, overrides)
    written = spec if isinstance(recipe, Recipe) else load_recipe(recipe)
    if "task" not in spec.model_fields_set:
        told = with_task(spec.model, {}, task_by_model(spec.model, watcher.note), watcher.note)
        spec = Recipe.model_validate({**spec.model_dump(include=spec.model_fields_set), **told}) if told else spec
    spec = sized(spec, watcher.note)
    moved = (written.model, written.data) != (spec.model, spec.data)
    spec = spec.but(fingerprint=None) if moved else spec
    limits = load_budget(budget) if budget else None
    with opened(out) as store:
        from trimtab.run import machine, material
        from trimtab.run.guards import Limits
        from trimtab.workers.worker import Worker, WorkerSpec

        what = material.load_material(spec.model, spec.data, watcher.note, task=spec.task)
        if moved:
            _say_how_different(store, written, what, watcher.note)
        spec = what.named_in(spec)
        how = WorkerSpec(
            task=spec.task,
            mode=mode,
            budget=limits or Budget(),
            limits=Limits(max_tokens, max_seconds),
            shares_every=gradient_shares,
        )
        worker = Worker(store, what, machine.look(), watcher, how)
        for line in worker.table_lines(worker.describe_data(spec)):
            watcher.note(line)
        (outcome,) = worker.train([spec], reopen=True)
        row = store.run(spec.run_id)
        if outcome.breach and row.status == Status.COMPLETE:  # trained to its end before, without this budget
            watcher.note(f"{row.id} is outside the budget {limits.name if limits else ''}: {outcome.breach}")
        return row


def can_be_kept(budget: Budget, meter: Meter, say: Say, begun: bool = False) -> None:
    """SpecError with every limit that stays open whatever is trained; of a study that is `begun` already it is only
    said, as is what the base model itself breaks."""
    from trimtab.analysis.deciding import too_few

    how = "trimtab tune asks none of your own; take the limit out and judge the run with trimtab card RUN --probes"
    if problems := never_decided(budget, meter.lacks(), {}, how) + too_few(budget):
        if not begun:
            raise SpecError(f"budget {budget.name}", problems)
        for problem in problems:
            say(f"It stays open: {problem}")
    for sentence in broken_untouched(budget):
        say(f"{sentence[0].upper()}{sentence[1:]}")


def with_task(model: str, own: dict[str, Any], task: str | None, say: Say) -> dict[str, Any]:
    """A person's settings, and the `task` that the model's architecture is for, where they name none."""
    if "task" in own or task not in TRAINED_HERE or task == Recipe.model_fields["task"].default:
        return own
    what = "sees pictures" if task == "image-classification" else "is an encoder"
    say(f"{model} {what}, so it learns to classify: task={task} (another wins: task=…)")
    return {**own, "task": task}


def _check(also: Sequence[str], own: Mapping[str, Any], on: str | None, workers: int | None, mode: str) -> None:
    from trimtab.tuning.neighbours import ALSO

    problems = [f'got "{a}"; allowed are {", ".join(ALSO)}' for a in also if a not in ALSO]
    known = [a for a in also if a in ALSO]
    problems += [f"{a}: {ALSO[a][0]} is your own setting, which is not searched" for a in known if ALSO[a][0] in own]
    problems += ["rank: full fine-tuning has none"] if "rank" in known and own.get("method") == "full" else []
    if problems:
        raise SpecError("--also", problems)
    if problems := where_problems(on, workers) + mode_problems(mode):
        raise SpecError("trimtab tune", problems)


def explain(model: str, data: str, out: str | Path = DEFAULT_OUT) -> dict[str, Any]:
    """Every decision of the newest study of this model and data, with its evidence; trains nothing. StoreError where
    there is none."""
    from trimtab.reporting.report_data import study_report

    with opened(out, create=False) as store:
        mine = [s.id for s in store.studies() if s.kind == "tune" and (s.asked.model, s.asked.data) == (model, data)]
        if not mine:
            raise StoreError(f"{out} holds no study of {model} on {data}; without --explain one is made")
        return study_report(store, mine[-1])


def _know_the_data(store: Store, study: str, model: str, what: Material, say: Say) -> None:
    """Keeps with a study what kind of data it is made on, and says what earlier studies of the model are worth here;
    once."""
    from trimtab.facts import earlier

    facts = store.study(study).facts
    profile = what.task.profile(what.dataset)
    if profile is None or getattr(facts, "data_profile", None):
        return
    sentences = [row["sentence"] for row in earlier.alike(store, model, profile, but=study)[:3]]
    store.update_study(study, facts={"data_profile": profile, "earlier": sentences})
    for sentence in sentences:
        say(f"Earlier study: {sentence}")


def _say_how_different(store: Store, written: Recipe, what: Material, say: Say) -> None:
    """A recipe that is used on other data than it was made for: known from a study, or read again where they still
    lie."""
    from trimtab.datasets.similarity import difference
    from trimtab.facts import earlier

    now = what.task.profile(what.dataset)
    known = earlier.behind(store, written.fingerprint) if written.fingerprint else None
    try:
        known = known or earlier.profile_of(written.data)
    except TrimtabError:
        known = None
    if now is None or known is None:
        say("This recipe was made for other material, which is not known here; its settings are a guess")
        return
    d = difference(known, now)
    say(
        f"This recipe was made for other data ({earlier.WORDS[d['level']]}, told apart with AUC {d['auc']:.2f}):"
        f" {d['trust']}"
    )


def _need_space(out: Path, parameters: int) -> None:
    """Adapters of about ten runs (best and last) and the state of three: some 2 % of the weights each, at 4 bytes."""
    from trimtab.datasets.assets import need_space

    need_space(out, 100 + parameters * 0.04 * 4 * (10 * 2 + 3 * 3) / 1e6, "this study")


def _hand_over(store: Store, study: str, result: Mapping[str, Any]) -> Path:
    """recipe.yaml, adapter/ and the report in the study's folder."""
    from trimtab.reporting.page import write_report
    from trimtab.tuning.summary import reasons

    folder = store.folder / study
    recipe, plan = Recipe.model_validate(result["recipe"]), getattr(store.study(study).facts, "plan", None) or []
    write_whole(folder / "recipe.yaml", dump(recipe, reasons(recipe, plan, store.decisions(study))))
    copy_weights(store.folder / "runs" / result["run"] / "best", folder)
    return write_report(store, study, folder)


def copy_weights(weights: Path, folder: Path) -> None:
    """Into a study's folder, as adapter/ or model/; what was handed over before is replaced whole."""
    target = folder / ("adapter" if (weights / "adapter_config.json").exists() else "model")
    if not weights.exists():
        return
    scratch, old = folder / ".copy", folder / ".old"
    for left in (scratch, old):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(weights, scratch)
    if target.exists():
        target.rename(old)
    scratch.rename(target)  # a copy that was cut short never looks whole
    shutil.rmtree(old, ignore_errors=True)


def _command(
    model: str,
    data: str,
    budget: str | Path | Budget | None,
    seconds: float | None,
    out: str | Path,
    own: Mapping[str, Any],
    mode: str,
    also: Sequence[str],
) -> str:
    """What to type to get this study; quoted for a shell."""
    parts = ["trimtab", "tune", model, data]
    parts += ["--budget", budget.name if isinstance(budget, Budget) else str(budget)] if budget else []
    parts += ["--time", durations.typed(seconds)] if seconds else []
    parts += ["--out", str(out)] if Path(out) != DEFAULT_OUT else []
    parts += ["--certify"] if mode == "certify" else []
    parts += ["--also", ",".join(also)] if also else []
    return shlex.join(parts + [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in own.items()])
