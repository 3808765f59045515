"""Something to ask for forecasts on one device, with what earlier runs of a folder showed. Torch is loaded only to
trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from trimtab.errors import ForecastRefused
from trimtab.forecasting import calibrate
from trimtab.forecasting import forecast as forecasts
from trimtab.forecasting.result import Forecast
from trimtab.planning.catalogue import Device
from trimtab.spec.progress import Say, silent
from trimtab.spec.workload import Workload


def forecaster(
    device: Device | None,
    instant: bool = False,
    out: str | Path | None = None,
    say: Say = silent,
    fall_back: bool = False,
) -> Callable[[Workload], Forecast]:
    """Forecasts on one device; ForecastRefused where there is no way. `fall_back`: where there is no closed form,
    trace in spite of `instant`."""
    rows = stored(out)

    def forecast(w: Workload) -> Forecast:
        known = calibrate.known(w.device, rows)
        try:
            return forecasts.forecast(w, device, instant, known, say)
        except ForecastRefused:
            if not (instant and fall_back):
                raise
            return forecasts.forecast(w, device, False, known, say)

    return forecast


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
