"""The behaviour verbs as a program calls them: card, voices, dose, review. Takes plain values, gives plain data; api.py's other half."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.errors import SpecError, StoreError
from trimtab.folder import opened
from trimtab.spec.budget import Budget
from trimtab.spec.status import LEVELS
from trimtab.spec.yaml_file import load_budget

if TYPE_CHECKING:
    from trimtab.store import RunRow, Store
    from trimtab.tune.examiner import Examiner

LANGUAGES = ("en", "zh")


def card(
    target: str, budget: str | Path | None, level: str, base: str | None, data: str | None, language: str | None,
    probes: str | Path | None, page: str | Path | None, out: str | Path, watcher: Any,
) -> dict[str, Any]:  # fmt: skip
    from trimtab.spec.probe import load_probes

    problems = [f'--level: got "{level}"; allowed are {", ".join(LEVELS)}'] if level not in LEVELS else []
    if language not in (None, *LANGUAGES):
        problems.append(f'--language: got "{language}"; there are probes in {" and ".join(LANGUAGES)}')
    problems += _unwritable(Path(page)) if page else []
    if problems:
        raise SpecError("trimtab card", problems)
    own = load_probes(probes) if probes else []
    given = load_budget(budget) if budget else None
    if base is None:
        found = _of_run(target, given, level, language, own, data, out, watcher)
    else:
        found = _of_weights(target, base, data, given or load_budget(None), level, language, own, watcher)
    if page:
        from trimtab.report.card import write_card

        found["page"] = str(write_card(found, Path(page)))
    return found


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
    run: str, given: Budget | None, level: str, language: str | None, own: Sequence[Any], data: str | None, out: str | Path, watcher: Any
) -> dict[str, Any]:  # fmt: skip
    from trimtab.analysis.card import judge, measured_enough
    from trimtab.report.gather import epochs

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
        if stored and measured_enough(stored["measured"], limits, level, [p.name for p in own]):
            judged = judge({**stored["measured"], "labels": store.labels(row.id)}, limits)
        else:
            judged = _examiner(store, row, limits, own, watcher).card(row.recipe, level, language)  # type: ignore[arg-type]
        return {
            "run": row.id, "model": row.recipe.model, "data": row.recipe.data, **judged,
            "samples": store.samples(row.id), "epochs": epochs(store, row),
        }  # fmt: skip


def _of_weights(
    target: str, base: str, data: str | None, budget: Budget, level: str, language: str | None, own: Sequence[Any], watcher: Any
) -> dict[str, Any]:  # fmt: skip
    from trimtab.analysis.card import judge
    from trimtab.run import machine
    from trimtab.tune import outsiders

    found = machine.look()
    measured, samples = outsiders.card(
        target, base, data, budget, level, language, own, found, watcher.note  # type: ignore[arg-type]
    )  # fmt: skip
    return {"run": target, "model": base, "data": data, **judge(measured, budget), "samples": samples, "epochs": []}


def _examiner(store: Store, row: RunRow, budget: Budget, own: Sequence[Any], watcher: Any) -> Examiner:
    if not (store.folder / "runs" / row.id / "best").exists():
        raise StoreError(
            f"run {row.id} is {row.status} and has no saved weights yet; the command that began it goes on with it"
        )
    from trimtab.run import machine, material
    from trimtab.tune.worker import Worker

    what = material.gather(row.recipe.model, row.recipe.data, watcher.note)
    what.named_in(row.recipe)
    base = {"method": row.recipe.method, "bf16": row.recipe.bf16}
    return Worker(store, what, machine.look(), watcher, budget, row.study, own=own, **base).examiner  # type: ignore[arg-type]


def budget_of(store: Store, run: RunRow) -> Budget:
    """The budget of the study that the run was made for, else the standard one."""
    return Budget.model_validate(store.study(run.study).asked["budget"]) if run.study else load_budget(None)


def voices(run: str, out: str | Path) -> dict[str, Any]:
    from trimtab.analysis.voices import listened

    with opened(out, create=False) as store:
        row = store.find_run(run)
        updates, steps = store.updates(row.id), store.steps(row.id)
        if not updates:
            raise StoreError(
                f"run {row.id} has no updates on record: it was trained before trimtab kept them, or not yet"
            )
        found = listened(updates, steps, row.recipe.max_grad_norm)
        return {"run": row.id, "effective_batch": row.recipe.effective_batch, **found, "texts": _texts(row, found)}


def _texts(row: RunRow, found: Mapping[str, Any]) -> dict[int, list[str]]:
    """The examples that a person would want to read: dominators and suspects, as (prompt, answer). Empty where the data are gone."""
    from trimtab.data.prepare import load
    from trimtab.data.tokens import tokenise
    from trimtab.errors import TrimtabError
    from trimtab.run import models

    wanted = {i for d in found["dominators"] for i in d["ids"]} | set(found["suspects"])
    try:
        examples = load(row.recipe.data, say=lambda _: None).examples["train"]
        tokens = tokenise(examples, models.load_tokenizer(row.recipe.model, lambda _: None), row.recipe.max_length)
    except TrimtabError:
        return {}
    kept = [e for e, t in zip(examples, tokens, strict=True) if t.labels]  # numbered as the run numbered them
    return {i: [kept[i].messages[-2]["content"], kept[i].answer] for i in sorted(wanted) if i < len(kept)}


def dose(run: str, budget: str | Path | None, out: str | Path, watcher: Any) -> dict[str, Any]:
    from trimtab.analysis.dose import doses

    with opened(out, create=False) as store:
        row = store.find_run(run)
        limits = load_budget(budget) if budget else budget_of(store, row)
        if row.recipe.method == "full":
            raise StoreError(
                f"run {row.id} trained all weights; only an adapter can be scaled without a second training"
            )
        examiner = _examiner(store, row, limits, (), watcher)
        return {"run": row.id, **doses(examiner.doses(row.recipe), limits)}


def price(seconds: Mapping[str, float]) -> str:
    """What a card took, for people."""
    total = sum(seconds.values())
    return f"{total / 60:.1f} minutes" if total >= 90 else f"{math.ceil(total)} seconds"
