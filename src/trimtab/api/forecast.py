"""The forecast verbs: forecast, solve, residuals, probe, catalogue. Plain values in, plain data out; torch only to
trace or probe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from trimtab.forecasting import calibrate, inputs
from trimtab.forecasting import solve as solving
from trimtab.forecasting.forecaster import forecaster, stored
from trimtab.forecasting.result import Forecast
from trimtab.planning import catalogue as known
from trimtab.spec.progress import Say, silent
from trimtab.spec.results import ForecastResult
from trimtab.spec.workload import Workload


def forecast(
    file: str | Path | None = None,
    settings: Sequence[str] = (),
    own: Mapping[str, Any] | None = None,
    *,
    gpu: str | None = None,
    instant: bool = False,
    out: str | Path | None = None,
    say: Say = silent,
    **more: Any,
) -> ForecastResult:
    """Peak memory, fit and time before launch, of a recipe or workload file, or of settings of `Workload` given by
    name.

    `trimtab.forecast(model="Qwen/Qwen2.5-7B", method="lora", max_length=4096, gpu="24GB")`. Raises SpecError or
    ModelError with every problem.
    """
    w, forecast_of = _asked(file, settings, {**(own or {}), **more}, gpu, instant, out, say)
    return cast(ForecastResult, forecast_of(w).as_dict())


def solve(
    what: Literal["micro_batch", "cutoff", "method"],
    file: str | Path | None = None,
    settings: Sequence[str] = (),
    own: Mapping[str, Any] | None = None,
    *,
    gpu: str | None = None,
    instant: bool = False,
    out: str | Path | None = None,
    say: Say = silent,
) -> dict[str, Any]:
    """`what`: "micro_batch" or "cutoff" (the largest that fits), or "method" (what each cheaper option saves)."""
    w, forecast_of = _asked(file, settings, own or {}, gpu, instant, out, say)
    if what == "method":
        return {"what": what, "rows": solving.cheaper(w, forecast_of)}
    if what == "micro_batch":
        return solving.largest(w, "per_device_train_batch_size", forecast_of, w.examples)
    from trimtab.forecasting.source import locate

    return solving.largest(w.but(max_length=64), "max_length", forecast_of, locate(w.model).positions)


def _asked(
    file: str | Path | None, settings: Sequence[str], own: Mapping[str, Any], gpu: str | None, instant: bool,
    out: str | Path | None, say: Say,
) -> tuple[Workload, Callable[[Workload], Forecast]]:  # fmt: skip
    """What is to be forecast, and how to forecast it or anything like it on the same device."""
    device, count = inputs.device_named(gpu)
    return inputs.workload(file, settings, own, device, count), forecaster(device, instant, out, say)


def residuals(out: str | Path) -> list[dict[str, Any]]:
    """Predicted against measured, one row a run of this folder."""
    return calibrate.residuals(stored(out))


def probe(say: Say = silent) -> dict[str, Any]:
    """About ten seconds of products on this machine: context, workspace, achieved FLOP/s; kept for later forecasts."""
    return calibrate.probe(say)


def catalogue(what: Literal["models", "devices"]) -> list[dict[str, Any]]:
    """Names and sizes of known models or devices."""
    if what == "models":
        models = [known.find_model(name) for name in known.model_names()]
        return [{"name": m.name, "parameters": f"{m.parameters / 1e9:.2f} B"} for m in models if m]
    devices = [known.find_device(name)[0] for name in known.device_names()]
    return [{"name": d.name, "memory": f"{d.memory / 2**30:.0f} GiB"} for d in devices]
