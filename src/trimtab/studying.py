"""The study verbs as a program calls them: scan, ablate, batch, factorial, repeat, show. Takes plain values, gives plain data."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.errors import SpecError, StoreError
from trimtab.folder import opened
from trimtab.plan import design as designs
from trimtab.plan.design import Design
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Status
from trimtab.spec.yaml_file import load_budget, load_recipe

if TYPE_CHECKING:
    from trimtab.store import StudyRow

LEAST = 4  # runs that anything can be attributed with
KINDS = ("scan", "ablate", "batch", "factorial", "repeat")


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
    kind: str, recipe: str | Path | Recipe, vary: Sequence[str], seeds: int, scale: str, budget: str | Path | None, yes: bool, out: str | Path, watcher: Any
) -> dict[str, Any]:  # fmt: skip
    """Carry a study out, or go on with it, or look it up."""
    made = design(kind, recipe, vary, seeds, scale)
    if (runs := len(made.recipes())) > designs.RUNS and not yes:
        raise SpecError("the study", [f"is {runs:,} runs; confirm with --yes, or give fewer values or seeds"])
    limits = load_budget(budget) if budget else None
    with opened(out) as store:
        from trimtab.run import machine, material
        from trimtab.tune.inquiry import Inquiry
        from trimtab.tune.worker import Worker

        base = made.baseline.recipe
        what = material.gather(base.model, base.data, watcher.note)
        made = _named(made, what)
        asked = {
            "kind": kind, "model": base.model, "data": base.data, "fingerprint": what.fingerprint, "cells": [c.recipe.model_dump(mode="json") for c in made.cells],
            "seeds": list(made.seeds), "budget": limits and limits.model_dump(mode="json"),
        }  # fmt: skip
        name = f"{kind}-" + hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]
        here = machine.look()
        bf16 = here.bf16 if base.bf16 is None else base.bf16
        worker = Worker(store, what, here, watcher, limits, name, method=base.method, bf16=base.bf16)
        store.open_study(
            name,
            {
                **asked,
                "machine": here.as_dict(),
                "versions": machine.versions(),
                "command": _command(kind, recipe, vary, seeds),
            },
        )
        return {**Inquiry(worker, store, name, made, bf16, watcher.note).run(), "study": name}


def search(
    recipe: str | Path | Recipe, space: str | Path | None, sampler: str, trials: int, seconds: float | None, budget: str | Path | None,
    out: str | Path, watcher: Any,
) -> dict[str, Any]:  # fmt: skip
    """A search by one of Optuna's samplers, or its continuation; without a space file over the plan's ranges."""
    from trimtab.plan.space import of_plan, read_space
    from trimtab.tune.search import SAMPLERS, Search

    problems = [] if sampler in SAMPLERS else [f'--sampler: got "{sampler}"; allowed are {", ".join(SAMPLERS)}']
    problems += [] if trials >= 1 else [f"--trials: got {trials}; at least 1"]
    if problems:
        raise SpecError("trimtab study search", problems)
    base, limits = recipe if isinstance(recipe, Recipe) else load_recipe(recipe), load_budget(budget)
    given = read_space(space, base) if space else None
    with opened(out) as store:
        from trimtab.plan.plan import make_plan
        from trimtab.run import machine, material
        from trimtab.tune.worker import Worker

        what, here = material.gather(base.model, base.data, watcher.note), machine.look()
        base = what.named_in(base)
        worker = Worker(store, what, here, watcher, limits, None, method=base.method, bf16=base.bf16)
        if given is None:
            given = of_plan(
                make_plan(worker.facts(), {"trainer": "trimtab", "method": base.method}, worker.ask()).settings,
                base,
            )
        asked = {
            "kind": "search", "model": base.model, "data": base.data, "fingerprint": what.fingerprint, "base": base.model_dump(mode="json"),
            "space": [vars(d) | {"values": list(d.values)} for d in given], "sampler": sampler, "budget": limits.model_dump(mode="json"),
        }  # fmt: skip
        name = "search-" + hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]
        worker.study = name
        command = shlex.join(
            [
                "trimtab",
                "study",
                "search",
                "RECIPE.yaml" if isinstance(recipe, Recipe) else str(recipe),
                "--sampler",
                sampler,
            ]
        )
        store.open_study(name, {**asked, "machine": here.as_dict(), "versions": machine.versions(), "command": command})
        made = Search(worker, store, name, base, given, sampler, trials, seconds, limits, watcher.note)  # type: ignore[arg-type]
        return {**made.run(), "study": name}


def _named(made: Design, what: Any) -> Design:
    from dataclasses import replace

    return replace(made, cells=tuple(replace(c, recipe=what.named_in(c.recipe)) for c in made.cells))


def show(study: str | None, out: str | Path) -> dict[str, Any]:
    """What a study found; the newest where none is named."""
    with opened(out, create=False) as store:
        every = [s for s in store.studies() if "kind" in s.asked]
        found = _pick(every, study)
        result = found.facts.get("result")
        if result is None:
            done = [r for r in store.runs(found.id) if r.status.is_finished()]
            whole = f" of {len(found.asked['cells']) * len(found.asked['seeds'])}" if "cells" in found.asked else ""
            raise StoreError(
                f"{found.id} is not finished: {len(done)}{whole} runs; go on with: {found.asked['command']}"
            )
        return {**result, "study": found.id, "asked": found.asked}


def report(study: str, out: str | Path) -> tuple[Path, dict[str, Any]]:
    """The page of a designed study and its data."""
    from trimtab.report.study import write_study

    found = show(study, out)
    if found["kind"] == "search":
        raise StoreError(f"{study} is a search, which has no page yet; see it with: trimtab study show {study}")
    shares = (
        attribute(study, out)
        if len(found["cells"]) > 1 and len(found["cells"]) * len(found["seeds"]) >= LEAST
        else None
    )
    return write_study(found, shares, Path(out) / study), {**found, "attribution": shares and shares["rows"]}


def attribute(study: str | None, out: str | Path) -> dict[str, Any]:
    """Settings × numbers of a study's complete runs: {"settings", "rows": [{"number", "shares", "sentence"}]}."""
    from dataclasses import asdict

    from trimtab.analysis import attribution

    with opened(out, create=False) as store:
        found = _pick([s for s in store.studies() if "kind" in s.asked], study)
        runs = [r for r in store.runs(found.id) if r.status == Status.COMPLETE and store.evaluations(r.id)]
        if len(runs) < 4:
            raise StoreError(
                f"{found.id} has {len(runs)} complete runs; at least 4, of two settings or more, are needed to attribute anything"
            )
        ways = _varied([r.recipe for r in runs])
        numbers = [_numbers(store.evaluations(r.id)) for r in runs]
    rows = []
    for key in numbers[0]:
        if all(key in n for n in numbers):
            made = attribution.attribute(ways, [n[key] for n in numbers])
            rows.append({"number": key, **asdict(made), "sentence": attribution.sentence(made, key)})
    return {"study": found.id, "settings": list(ways[0]), "rows": rows}


def _varied(recipes: Sequence[Recipe]) -> list[dict[str, Any]]:
    """Of each recipe what differs among them; micro-batch and accumulation as the effective batch."""
    parts = ("per_device_train_batch_size", "gradient_accumulation_steps", "seed")
    whole = [
        {k: v for k, v in r.model_dump().items() if k not in parts} | {designs.EFFECTIVE: r.effective_batch}
        for r in recipes
    ]
    return [{k: w[k] for k in whole[0] if len({str(x[k]) for x in whole}) > 1} for w in whole]


def _numbers(evaluations: Sequence[dict[str, Any]]) -> dict[str, float]:
    """What every run leaves behind: its best evaluation, and the pulse there."""
    best = min(evaluations, key=lambda e: e["loss"])
    pulse = {k: sum(v) / len(v) for k, v in best["pulse"].items() if v}
    sure, right = pulse.get("sure"), pulse.get("right")
    surer = {"sure minus right": sure - right} if sure is not None and right is not None else {}
    return {"validation loss": best["loss"], **pulse, **surer}


def _pick(every: Sequence[StudyRow], name: str | None) -> StudyRow:
    hits = [s for s in every if name is None or s.id.startswith(name)]
    if not hits or (name and len(hits) > 1):
        known = ", ".join(s.id for s in every) or "none"
        raise StoreError(
            f"{'no study' if not hits else 'several studies are called'} {name or ''} here (there are: {known})"
        )
    return hits[-1]


def _command(kind: str, recipe: Any, vary: Sequence[str], seeds: int) -> str:
    name = "RECIPE.yaml" if isinstance(recipe, Recipe) else str(recipe)
    options = ["--without", ",".join(vary)] if kind == "ablate" else [",".join(vary)] if kind == "batch" else list(vary)
    return shlex.join(["trimtab", "study", kind, name, *options, "--seeds", str(seeds)])
