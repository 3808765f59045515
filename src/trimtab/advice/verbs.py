"""The verbs plan, precedents and data, as a program calls them. Takes plain values, gives plain data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trimtab.advice.gather import Gathered, gather, report, task_of
from trimtab.errors import ForecastRefused, ModelError, SpecError, did_you_mean
from trimtab.forecasting import ask as asking
from trimtab.forecasting.source import locate
from trimtab.forecasting.verbs import asker
from trimtab.plan import page, precedents
from trimtab.plan.catalogue import find_model
from trimtab.plan.facts import TASKS
from trimtab.plan.plan import Plan, make_plan
from trimtab.plan.precedents import Query, family_of
from trimtab.plan.rates import bands
from trimtab.spec.recipe import Recipe
from trimtab.spec.workload import Workload
from trimtab.spec.yaml_file import check, split_overrides

METHODS = ("auto", "full", "lora", "qlora")
Say = Callable[[str], None]
Progress = Callable[[str, int, int], None]


def quiet(_text: str) -> None:
    return None


def plan(
    model: str,
    data: str,
    *,
    gpu: str | None = None,
    method: str = "auto",
    task: str | None = None,
    risk: str = "standard",
    own: Mapping[str, Any] | Sequence[str] = (),
    instant: bool = False,
    studies: str | Path = "trimtab-out",
    say: Say = quiet,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Settings to start from: {"settings", "yaml", "forecast", "warnings", "couplings", "experiments", "precedents", "earlier", "data"}."""
    if method not in METHODS:
        raise SpecError(
            "--method", [f'got "{method}"; allowed are {", ".join(METHODS)}{did_you_mean(method, METHODS)}']
        )
    fixed = own_settings(model, data, own)
    if method != "auto":
        fixed.setdefault("method", method)
    found = gather(model, data, gpu, task, risk, say, progress)
    made = make_plan(found.facts, fixed, forecaster(found, instant, studies, say))
    return {**as_data(made), "data": found.survey, "earlier": _earlier(found, studies)}


def forecaster(found: Gathered, instant: bool, studies: str | Path | None, say: Say) -> Callable[[Workload], Any]:
    """Traced; by closed form where that was asked for and there is one."""
    return asker(found.card, instant and found.source.known is not None, studies, say, fall_back=True)


def as_data(made: Plan) -> dict[str, Any]:
    forecast = made.forecast.as_dict() if made.forecast else None
    return {
        "model": made.facts.model, "facts": vars(made.facts) | {"assumed": list(made.facts.assumed)},
        "settings": [page.row(name, made.settings[name]) for name in page.ordered(made.settings)],
        "recipe": made.recipe.model_dump(mode="json") if made.recipe else None, "yaml": page.text(made), "forecast": forecast,
        "warnings": list(made.warnings), "couplings": [vars(c) | {"shows": [list(s) for s in c.shows]} for c in made.couplings],
        "experiments": [vars(e) for e in made.experiments], "precedents": [precedent(p) for p in made.precedents[:5]],
    }  # fmt: skip


def precedent(p: precedents.Precedent) -> dict[str, Any]:
    r = p.row
    return {
        "model": r.model, "method": r.method, "task": r.task, "learning_rate": r.learning_rate, "effective_batch": r.batch, "kind": r.kind,
        "repository": r.repo, "path": r.path, "commit": r.commit, "link": r.link, "licence": r.licence, "distance": round(p.distance, 3),
        "weight": round(p.weight, 4), "values": r.values,
    }  # fmt: skip


def nearest(
    model: str, method: str = "lora", task: str | None = None, batch: float | None = None, count: int = 10
) -> dict[str, Any]:
    """The published recipes nearest to a model, with weighted quartiles of their settings."""
    if method not in METHODS[1:]:
        raise SpecError(
            "--method", [f'got "{method}"; allowed are {", ".join(METHODS[1:])}{did_you_mean(method, METHODS)}']
        )
    kind, _ = task_of(task)
    billions, family = _size_and_family(model)
    query = Query(billions, family, TASKS[kind or "sft"], method, batch)
    near = precedents.nearest(query)
    names = (
        "learning_rate",
        "effective_batch",
        "num_train_epochs",
        "r",
        "lora_alpha",
        "warmup_ratio",
        "weight_decay",
        "max_length",
    )
    quartiles = {n: [precedents.quantile(near, s, n) for s in (0.25, 0.5, 0.75)] for n in names}
    maker = precedents.makers_own(query)
    return {
        "model": model, "family": family, "billions": billions, "method": method, "task": query.task, "found": len(near),
        "repositories": len({p.row.repo for p in near}), "quartiles": {n: q for n, q in quartiles.items() if q[1] is not None},
        "bands": bands(query), "maker": precedent(precedents.Precedent(maker, 0.0, 0.0)) if maker else None,
        "rows": [precedent(p) for p in near[:count]],
    }  # fmt: skip


def data_report(
    data: str,
    model: str | None = None,
    gpu: str | None = None,
    against: str | None = None,
    say: Say = quiet,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What is in the data; with a model also token lengths and what each cutoff costs in memory; `against` other data, how different."""
    found = dict(report(data, model, say, progress))
    if model:
        card, _ = asking.card_of(gpu)
        found["cutoffs"] = [c | {"memory": _cost(model, int(c["max_length"]), card)} for c in found["cutoffs"]]
        found["positions"] = locate(model, say).positions
        found["card"] = card.name if card else None
        found["card_memory"] = card.memory if card else None
    if against:
        from trimtab.data.fingerprint import difference

        found["against"] = {"data": against, **difference(fingerprint_of(against, say), fingerprint_of(data, say))}
    return found


def own_settings(model: str, data: str, own: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """A person's settings, checked as those of a recipe; 4-bit is a method here, since other trainers have it."""
    values, problems = (dict(own), []) if isinstance(own, Mapping) else split_overrides(own)
    named = [k for k in values if k in ("model", "data", "fingerprint")]
    problems += [f"{k} is no setting here: MODEL and DATA are the first two arguments" for k in named]
    if "effective_batch" in values:
        problems.append(
            "effective_batch is per_device_train_batch_size × gradient_accumulation_steps × devices: set one of the two"
        )
    kept = {k: v for k, v in values.items() if k not in (*named, "effective_batch")}
    trained = {k: v for k, v in kept.items() if (k, v) != ("method", "qlora")}
    checked = check(Recipe, {"model": model, "data": data, **trained}, "your settings", problems)
    return {k: getattr(checked, k) if k in trained else v for k, v in kept.items()}


def _cost(model: str, cutoff: int, card: Any) -> int | None:
    """Bytes of one example at this length by LoRA, as the driver would show it; closed form."""
    cuda = asking.device_of(card) == "cuda"
    try:
        return asker(card, instant=True)(Workload.model_validate({
            "model": model, "max_length": cutoff, "method": "lora", "r": 16, "device": "cuda" if cuda else "cpu",
            **({} if cuda else {"dtype": "float32", "autocast": "no"}),
        })).used  # fmt: skip
    except (ForecastRefused, SpecError):
        return None


def _size_and_family(model: str) -> tuple[float, str | None]:
    """From the catalogue, else from the name ("…-7b"), else from the model's config."""
    if known := find_model(model):
        return known.parameters / 1e9, family_of(known.name, str(known.config.get("model_type")))
    if said := re.search(r"(\d+(?:\.\d+)?)\s*([bm])(?![a-z])", model.rsplit("/", 1)[-1].lower()):
        return float(said[1]) / (1 if said[2] == "b" else 1000), family_of(model)
    source = locate(model, quiet)
    if source.known is None:
        raise ModelError(
            f"{model} does not say how large it is; give a name with its size, as in some-7b, or one of `trimtab forecast --models`"
        )
    return source.known.parameters / 1e9, family_of(model, source.family)


def fingerprint_of(data: str, say: Say) -> dict[str, Any]:
    """What kind of data they are: see data/fingerprint.py. DataError where they cannot be read."""
    from trimtab.data.fingerprint import fingerprint
    from trimtab.data.formats import to_examples
    from trimtab.data.read import read

    source = read(data, say)
    return fingerprint(to_examples(source.rows["train"], source.name)[1])


def _earlier(found: Gathered, studies: str | Path) -> list[dict[str, Any]]:
    if found.survey is None or not (Path(studies) / "trimtab.db").exists():
        return []
    from trimtab.advice import earlier
    from trimtab.store import Store  # a database library: not for those who have no studies yet

    store = Store(Path(studies), create=False)
    try:
        if not store.studies():
            return []
        return earlier.alike(store, found.facts.model, fingerprint_of(found.facts.data, quiet))[:3]
    finally:
        store.close()
