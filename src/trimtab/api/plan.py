"""The verbs plan, precedents and data. Plain values in, plain data out; torch only to trace."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from trimtab.datasets.columns import with_columns
from trimtab.errors import ForecastRefused, ModelError, SpecError, did_you_mean
from trimtab.facts.build import Situation, build_facts, report, task_of
from trimtab.forecasting import inputs
from trimtab.forecasting.forecaster import forecaster
from trimtab.forecasting.source import locate, task_by_model
from trimtab.planning import plan_yaml
from trimtab.planning import precedents as published
from trimtab.planning.catalogue import find_model
from trimtab.planning.plan import Plan, make_plan
from trimtab.planning.precedents import Query, family_of
from trimtab.planning.rates import bands
from trimtab.spec.options import DEFAULT_OUT
from trimtab.spec.progress import Say, silent
from trimtab.spec.results import PlanResult
from trimtab.spec.workload import Workload
from trimtab.spec.yaml_file import own_settings

METHODS = ("auto", "full", "lora", "qlora")
Advance = Callable[[str, int, int], None]  # stage, done, of so many


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
    studies: str | Path = DEFAULT_OUT,
    say: Say = silent,
    progress: Advance | None = None,
) -> PlanResult:
    """Settings to start from: {"settings", "yaml", "forecast", "warnings", "couplings", "experiments", "precedents",
    "earlier", "data"}."""
    if method not in METHODS:
        raise SpecError(
            "--method", [f'got "{method}"; allowed are {", ".join(METHODS)}{did_you_mean(method, METHODS)}']
        )
    data, own = with_columns(data, own)
    fixed = own_settings(model, data, own, {"method": ("qlora",)}, task_of(task)[0] or task_by_model(model, say))
    if method != "auto":
        fixed.setdefault("method", method)
    situation = build_facts(model, data, gpu, task, risk, say, progress)
    made = make_plan(situation.facts, fixed, forecaster_of(situation, instant, studies, say))
    return cast(PlanResult, {**as_data(made), "data": situation.survey, "earlier": _earlier(situation, studies)})


def write_page(plan: Mapping[str, Any], path: str | Path) -> None:
    """A plan's page; SpecError where it cannot be written."""
    try:
        Path(path).write_text(plan["yaml"], encoding="utf-8")
    except OSError as error:
        raise SpecError(
            f"--out {path}", [f"cannot be written ({error.strerror}); give a file in a folder that exists"]
        ) from None


def forecaster_of(known: Situation, instant: bool, studies: str | Path | None, say: Say) -> Callable[[Workload], Any]:
    """Traced; by closed form where that was asked for and there is one."""
    return forecaster(known.device, instant and known.source.known is not None, studies, say, fall_back=True)


def as_data(made: Plan) -> dict[str, Any]:
    """A plan as JSON values; see `plan`."""
    forecast = made.forecast.as_dict() if made.forecast else None
    return {
        "model": made.facts.model,
        "facts": vars(made.facts) | {"assumed": list(made.facts.assumed)},
        "settings": [plan_yaml.row(name, made.settings[name]) for name in plan_yaml.ordered(made.settings)],
        "recipe": made.recipe.model_dump(mode="json") if made.recipe else None,
        "yaml": plan_yaml.text(made),
        "forecast": forecast,
        "warnings": list(made.warnings),
        "couplings": [vars(c) | {"shows": [list(s) for s in c.shows]} for c in made.couplings],
        "experiments": [vars(e) for e in made.experiments],
        "precedents": [precedent(p) for p in made.precedents[:5]],
    }


def precedent(p: published.Precedent) -> dict[str, Any]:
    """A published recipe as JSON values."""
    r = p.row
    return {
        "model": r.model,
        "name": r.name,
        "method": r.method,
        "task": r.task,
        "learning_rate": r.learning_rate,
        "effective_batch": r.batch,
        "kind": r.kind,
        "repository": r.repo,
        "path": r.path,
        "commit": r.commit,
        "link": r.link,
        "licence": r.licence,
        "distance": round(p.distance, 3),
        "weight": round(p.weight, 4),
        "values": r.values,
    }


def precedents(
    model: str, method: str = "lora", task: str | None = None, batch: float | None = None, count: int = 10
) -> dict[str, Any]:
    """The published recipes nearest to a model, with weighted quartiles of their settings."""
    if method not in METHODS[1:]:
        raise SpecError(
            "--method", [f'got "{method}"; allowed are {", ".join(METHODS[1:])}{did_you_mean(method, METHODS)}']
        )
    kind, _ = task_of(task)
    billions, family = _size_and_family(model)
    query = Query(billions, family, kind or "sft", method, batch, model=model)
    near = published.nearest(query)
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
    quartiles = {n: [published.quantile(near, s, n) for s in (0.25, 0.5, 0.75)] for n in names}
    maker = published.makers_own(query)
    return {
        "model": model,
        "family": family,
        "billions": billions,
        "method": method,
        "task": query.task,
        "found": len(near),
        "repositories": len({p.row.repo for p in near}),
        "quartiles": {n: q for n, q in quartiles.items() if q[1] is not None},
        "bands": bands(query),
        "maker": precedent(published.Precedent(maker, 0.0, 0.0)) if maker else None,
        "rows": [precedent(p) for p in near[:count]],
    }


def data(
    data: str,
    model: str | None = None,
    gpu: str | None = None,
    against: str | None = None,
    say: Say = silent,
    progress: Advance | None = None,
) -> dict[str, Any]:
    """What is in the data; with a model also token lengths and what each cutoff costs in memory; `against` other
    data, how different."""
    surveyed = dict(report(data, model, say, progress))
    if surveyed.get("pictures") and against:
        raise SpecError("--against", ["pictures are not compared with other data yet; leave it out"])
    if model and not surveyed.get("pictures"):
        device, _ = inputs.device_named(gpu)
        surveyed["cutoffs"] = [c | {"memory": _cost(model, int(c["max_length"]), device)} for c in surveyed["cutoffs"]]
        surveyed["positions"] = locate(model, say).positions
        surveyed["device"] = device.name if device else None
        surveyed["device_memory"] = device.memory if device else None
    if against:
        from trimtab.datasets.similarity import difference
        from trimtab.facts import earlier

        surveyed["against"] = {
            "data": against,
            **difference(earlier.profile_of(against, say), earlier.profile_of(data, say)),
        }
    return surveyed


def _cost(model: str, cutoff: int, device: Any) -> int | None:
    """Bytes of one example at this length by LoRA, as the driver would show it; closed form."""
    cuda = inputs.device_of(device) == "cuda"
    try:
        return forecaster(device, instant=True)(Workload.model_validate({
            "model": model, "max_length": cutoff, "method": "lora", "r": 16, "device": "cuda" if cuda else "cpu",
            **({} if cuda else {"dtype": "float32", "autocast": "no"}),
        })).used  # fmt: skip
    except (ForecastRefused, SpecError):
        return None


def _counted(model: str) -> int | None:
    """The parameters of a model whose files are here; None where it has none of a kind that can be counted."""
    from trimtab.tasks.pretrained import architecture

    try:
        return int(architecture(model, silent, body=True)["parameters"])
    except ModelError:
        return None


def _size_and_family(model: str) -> tuple[float, str | None]:
    """From the catalogue, else from the name ("…-7b"), else from the model's config."""
    if known := find_model(model):
        return known.parameters / 1e9, family_of(known.name, str(known.config.get("model_type")))
    if said := re.search(r"(\d+(?:\.\d+)?)\s*([bm])(?![a-z])", model.rsplit("/", 1)[-1].lower()):
        return float(said[1]) / (1 if said[2] == "b" else 1000), family_of(model)
    source = locate(model, silent)
    if source.known is None and (counted := _counted(model)):
        return counted / 1e9, source.family
    if source.known is None:
        raise ModelError(
            f"{model} does not say how large it is; give a name with its size, as in some-7b, or one of `trimtab"
            " forecast --models`"
        )
    return source.known.parameters / 1e9, family_of(model, source.family)


def _earlier(known: Situation, studies: str | Path) -> list[dict[str, Any]]:
    if known.survey is None or known.survey.get("pictures") or not (Path(studies) / "trimtab.db").exists():
        return []
    from trimtab.facts import earlier
    from trimtab.store import Store

    store = Store(Path(studies), create=False)
    try:
        if not store.studies():
            return []
        return earlier.alike(store, known.facts.model, earlier.profile_of(known.facts.data))[:3]
    finally:
        store.close()
