"""The behaviour verbs: card, gradient_shares, adapter_scale, budget. Plain values in, plain data out; rooms that
load torch are imported inside."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from trimtab.errors import SpecError, StoreError
from trimtab.spec.budget import Budget
from trimtab.spec.budget_check import broken_untouched, never_decided, on_the_edge
from trimtab.spec.numbers import number_of
from trimtab.spec.options import DEFAULT_OUT
from trimtab.spec.progress import SILENT, Progress, silent
from trimtab.spec.results import CardResult
from trimtab.spec.status import LEVELS, Level
from trimtab.spec.yaml_file import load_budget
from trimtab.store.folder import opened

if TYPE_CHECKING:
    from trimtab.spec.probe import Probe
    from trimtab.store import RunRow, Store
    from trimtab.tasks.task import Meter

LANGUAGES = ("en", "zh")


def card(
    target: str,
    *,
    budget: str | Path | None = None,
    level: Level = "card",
    base: str | None = None,
    data: str | None = None,
    language: str | None = None,
    probes: str | Path | None = None,
    prompts: int = 0,
    whole: bool = False,
    page: str | Path | None = None,
    out: str | Path = DEFAULT_OUT,
    watcher: Progress = SILENT,
) -> CardResult:
    """The behaviour card of a run, or (with `base`) of any adapter or model, against its base model.

    Measured once per level and kept with the run; judged against any budget. `prompts`: at least so many generic
    prompts, for drift, length and tone; `whole`: every question, also of numbers that fewer would decide. `page`: also
    written as HTML there.
    Raises SpecError with every problem of the options, StoreError where there is no such run.
    """
    from trimtab.spec.probe import load_probes

    problems = [f'--level: got "{level}"; allowed are {", ".join(LEVELS)}'] if level not in LEVELS else []
    if language not in (None, *LANGUAGES):
        problems.append(f'--language: got "{language}"; there are probes in {" and ".join(LANGUAGES)}')
    problems += _too_many(prompts)
    problems += _unwritable(Path(page)) if page else []
    if problems:
        raise SpecError("trimtab card", problems)
    own = load_probes(probes) if probes else []
    given = load_budget(budget) if budget else None
    if base is None:
        judged = _of_run(target, given, level, language, own, prompts, whole, data, out, watcher)
    else:
        limits = given or load_budget(None)
        judged = _of_weights(target, base, data, limits, level, language, own, prompts, whole, watcher)
    if page:
        from trimtab.reporting.card import write_card

        judged["page"] = str(write_card(judged, Path(page)))
    return cast(CardResult, judged)


def _too_many(prompts: int) -> list[str]:
    from trimtab.probes.prompts import generic_prompts

    most = len(generic_prompts())
    return [] if 0 <= prompts <= most else [f"--prompts: got {prompts}; there are {most} generic prompts"]


def _unwritable(page: Path) -> list[str]:
    """Tried before minutes of measuring."""
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        if page.is_dir():
            return [f"--html {page}: is a folder; give a file"]
        with tempfile.TemporaryFile(dir=page.parent):
            return []
    except OSError as error:
        return [f"--html {page}: cannot be written ({error.strerror}); give a file in a folder of yours"]


def _of_run(
    run: str,
    given: Budget | None,
    level: Level,
    language: str | None,
    own: Sequence[Probe],
    prompts: int,
    whole: bool,
    data: str | None,
    out: str | Path,
    watcher: Progress,
) -> dict[str, Any]:
    from trimtab.analysis.card import judge, measured_enough
    from trimtab.reporting.report_data import epochs

    if data:
        raise SpecError("--data", ["belongs to --base: a run knows its own data"])
    if not Path(out).exists() and (Path(run).exists() or "/" in run):
        raise SpecError(
            run, ["is no run of this folder; to measure an adapter or a model, name its base: --base MODEL"]
        )
    with opened(out, create=False) as store:
        row = store.find_run(run)
        limits = given or budget_of(store, row)
        stored = store.card(row.id)
        if stored and measured_enough(stored["measured"], limits, level, [p.name for p in own], prompts, whole):
            judged = judge({**stored["measured"], "labels": store.judgements.labels(row.id)}, limits)
        else:
            meter = _meter(store, row, limits, own, watcher)
            _can_be_decided(limits, {k: v for k, v in meter.lacks().items() if k != "gradient shares"}, own)
            judged = meter.card(row.recipe, level, language, prompts, whole)
        return {
            "run": row.id, "model": row.recipe.model, "data": row.recipe.data, **judged,
            "samples": store.samples(row.id), "epochs": epochs(store, row),
        }  # fmt: skip


def _of_weights(
    target: str,
    base: str,
    data: str | None,
    budget: Budget,
    level: Level,
    language: str | None,
    own: Sequence[Probe],
    prompts: int,
    whole: bool,
    watcher: Progress,
) -> dict[str, Any]:
    from trimtab.analysis.card import judge
    from trimtab.run import machine
    from trimtab.tasks import external_models
    from trimtab.tasks.task import find_task
    from trimtab.workers.model_cache import ModelCache

    _can_be_decided(budget, {}, own)
    here = machine.look()
    cache = ModelCache(find_task("sft"), base, here, watcher.note)
    measured, samples = external_models.card(
        target, base, data, budget, level, language, own, here, cache, watcher.note, prompts, whole
    )
    return {"run": target, "model": base, "data": data, **judge(measured, budget), "samples": samples, "epochs": []}


def _can_be_decided(budget: Budget, lacks: Mapping[str, str], own: Sequence[Probe]) -> None:
    from trimtab.analysis.deciding import too_few

    how = "name the folder of your probes with --probes"
    if problems := never_decided(budget, lacks, {p.name: len(p.items) for p in own}, how) + too_few(budget):
        raise SpecError(f"budget {budget.name}", problems)


def _meter(store: Store, row: RunRow, budget: Budget, own: Sequence[Probe], watcher: Progress) -> Meter:
    if not (store.folder / "runs" / row.id / "best").exists():
        why = "was trained, but its weights are gone" if row.status.is_finished() else "has no saved weights yet"
        raise StoreError(f"run {row.id} is {row.status} and {why}; the command that began it goes on with it")
    from trimtab.run import machine, material
    from trimtab.workers.worker import Worker, WorkerSpec

    recipe = row.recipe
    what = material.load_material(recipe.model, recipe.data, watcher.note, task=recipe.task)
    what.named_in(recipe)
    spec = WorkerSpec(task=recipe.task, method=recipe.method, bf16=recipe.bf16, budget=budget, own=tuple(own))
    return Worker(store, what, machine.look(), watcher, spec, row.study).meter


def budget_of(store: Store, run: RunRow) -> Budget:
    """The budget of the study that the run was made for, else the standard one."""
    return (store.study(run.study).asked.budget if run.study else None) or load_budget(None)


def gradient_shares(run: str, out: str | Path = DEFAULT_OUT) -> dict[str, Any]:
    """Which examples the updates of a run came from: consensus, noise scale, dominators, each example's history.

    StoreError where none is kept.
    """
    from trimtab.analysis.gradient_shares import summary

    with opened(out, create=False) as store:
        row = store.find_run(run)
        updates, steps = store.updates(row.id), store.steps(row.id)
        if not updates:
            raise StoreError(
                f"run {row.id} has no updates on record: it was trained before trimtab kept them, or not yet"
            )
        shares = summary(updates, steps, row.recipe.max_grad_norm)
        return {"run": row.id, "effective_batch": row.recipe.effective_batch, **shares, "texts": _texts(row, shares)}


def _texts(row: RunRow, shares: Mapping[str, Any]) -> dict[int, list[str]]:
    """The examples that a person would want to read: dominators and suspects."""
    from trimtab.tasks.task import find_task

    wanted = {i for d in shares["dominators"] for i in d["ids"]} | set(shares["suspects"])
    return find_task(row.recipe.task).texts(row.recipe, wanted, silent)


def adapter_scale(
    run: str, *, budget: str | Path | None = None, out: str | Path = DEFAULT_OUT, watcher: Progress = SILENT
) -> dict[str, Any]:
    """Gain and drift of a run's adapter at 0 to 1.25 of its strength; no retraining. StoreError for a run that
    trained all weights."""
    from trimtab.analysis.adapter_scale import scales

    with opened(out, create=False) as store:
        row = store.find_run(run)
        limits = load_budget(budget) if budget else budget_of(store, row)
        if row.recipe.method == "full":
            raise StoreError(
                f"run {row.id} trained all weights; only an adapter can be scaled without a second training"
            )
        points = _meter(store, row, limits, (), watcher).scales(row.recipe)
        return {"run": row.id, **scales(points, limits)}


def budget(source: str | Path | None = None) -> dict[str, Any]:
    """The limits of a preset or file, with what each number is. Raises SpecError with every problem."""
    from trimtab.analysis.deciding import too_few

    limits = load_budget(source)
    if problems := on_the_edge(limits) + too_few(limits):
        raise SpecError(f"budget {limits.name}", problems)
    rows = [
        {"number": k, "limit": v.model_dump(mode="json"), "unit": number_of(k).unit, "title": number_of(k).title}
        for k, v in limits.limits.items()
    ]
    return {"name": limits.name, "limits": rows, "broken untouched": broken_untouched(limits)}
