"""The forecast verbs, as a program calls them. Takes plain values, gives plain data; torch is loaded only to trace or probe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trimtab.errors import ForecastRefused
from trimtab.forecasting import ask, calibrate
from trimtab.forecasting import forecast as forecasts
from trimtab.forecasting import solve as solving
from trimtab.forecasting.result import Forecast
from trimtab.plan import catalogue as known
from trimtab.plan.catalogue import Card
from trimtab.spec.workload import Workload

Say = Callable[[str], None] | None


def forecast(
    file: str | Path | None = None,
    settings: Sequence[str] = (),
    own: Mapping[str, Any] | None = None,
    *,
    gpu: str | None = None,
    instant: bool = False,
    out: str | Path | None = None,
    say: Say = None,
) -> dict[str, Any]:
    """Memory, fit and time of a recipe or workload file, or of `own` settings (at least "model"). `gpu` as "24GB" or a name."""
    w, ask_for = _asked(file, settings, own, gpu, instant, out, say)
    return ask_for(w).as_dict()


def solve(
    what: str,
    file: str | Path | None = None,
    settings: Sequence[str] = (),
    own: Mapping[str, Any] | None = None,
    *,
    gpu: str | None = None,
    instant: bool = False,
    out: str | Path | None = None,
    say: Say = None,
) -> dict[str, Any]:
    """`what`: "micro_batch" or "cutoff" (the largest that fits), or "method" (what each cheaper option saves)."""
    w, ask_for = _asked(file, settings, own, gpu, instant, out, say)
    if what == "method":
        return {"what": what, "rows": solving.cheaper(w, ask_for)}
    if what == "micro_batch":
        return solving.largest(w, "per_device_train_batch_size", ask_for, w.examples)
    from trimtab.forecasting.source import locate

    return solving.largest(w.but(max_length=64), "max_length", ask_for, locate(w.model).positions)


def _asked(
    file: str | Path | None, settings: Sequence[str], own: Mapping[str, Any] | None, gpu: str | None, instant: bool,
    out: str | Path | None, say: Say,
) -> tuple[Workload, Callable[[Workload], Forecast]]:  # fmt: skip
    """What is to be forecast, and how to forecast it or anything like it on the same card."""
    card, count = ask.card_of(gpu)
    return ask.workload(file, settings, own or {}, card, count), asker(card, instant, out, say)


def asker(
    card: Card | None, instant: bool = False, out: str | Path | None = None, say: Say = None, fall_back: bool = False
) -> Callable[[Workload], Forecast]:
    """Forecasts on one card. `fall_back`: where there is no closed form, trace in spite of `instant`."""
    rows = stored(out)

    def forecast(w: Workload) -> Forecast:
        known = calibrate.known(w.device, rows)
        try:
            return forecasts.forecast(w, card, instant, known, say or (lambda _: None))
        except ForecastRefused:
            if not (instant and fall_back):
                raise
            return forecasts.forecast(w, card, False, known, say or (lambda _: None))

    return forecast


def residuals(out: str | Path) -> list[dict[str, Any]]:
    """Predicted against measured, one row a run of this folder."""
    return calibrate.residuals(stored(out))


def stored(out: str | Path | None) -> list[dict[str, Any]]:
    """The forecasts of a folder's runs; none where there is no store yet."""
    if out is None or not (Path(out) / "trimtab.db").exists():
        return []
    from trimtab.store import Store  # a database library: not for those who have no runs yet

    store = Store(Path(out))
    try:
        return store.forecasts()
    finally:
        store.close()


def probe(say: Say = None) -> dict[str, Any]:
    return calibrate.probe(say or (lambda _: None))


def catalogue(what: str) -> list[dict[str, Any]]:
    """Names and sizes of known "models" or "cards"."""
    if what == "models":
        found = [known.find_model(name) for name in known.model_names()]
        return [{"name": m.name, "parameters": f"{m.parameters / 1e9:.2f} B"} for m in found if m]
    cards = [known.find_card(name)[0] for name in known.card_names()]
    return [{"name": c.name, "memory": f"{c.memory / 2**30:.0f} GiB"} for c in cards]
