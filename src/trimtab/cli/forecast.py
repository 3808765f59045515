"""`trimtab forecast`: reads its arguments, calls the api, prints. Nothing heavy is imported before it is needed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from trimtab.cli.options import Gpu, Json, print_json
from trimtab.spec.options import DEFAULT_OUT
from trimtab.spec.progress import silent

Solve = Literal["micro_batch", "cutoff", "method"]


def forecast(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe or workload YAML. Or leave it out and name a --model.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Argument(help="Settings, e.g. r=16 optim=adamw_torch use_liger_kernel=true.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Catalogue name, hub id, local folder, GGUF or bundled:NAME.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="lora, qlora or full.")] = None,
    cutoff: Annotated[int | None, typer.Option(help="Tokens of the longest example (max_length).")] = None,
    micro_batch: Annotated[int | None, typer.Option(help="Examples in one pass (per_device_train_batch_size).")] = None,
    gpu: Gpu = None,
    solve: Annotated[
        Solve | None,
        typer.Option(help="The largest micro_batch or cutoff that fits, or what each cheaper method saves."),
    ] = None,
    instant: Annotated[
        bool, typer.Option("--instant", help="Closed form: no trace, answers at once, less exact.")
    ] = False,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Probe this machine for about 10 s: context, workspace, achieved FLOP/s."),
    ] = False,
    residuals: Annotated[
        bool, typer.Option("--residuals", help="Predicted against measured, for every run in --out.")
    ] = False,
    models: Annotated[bool, typer.Option("--models", help="List the catalogue of models.")] = False,
    devices: Annotated[bool, typer.Option("--devices", help="List the known devices.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the store that earlier runs are learned from.")] = DEFAULT_OUT,
    as_json: Json = False,
) -> None:
    """Peak memory and time of a training job before it is launched; without weights, a card or a network.

    `trimtab forecast --model Qwen/Qwen2.5-7B-Instruct --method lora --cutoff 4096 --gpu 24GB`
    """
    if calibrate or residuals or models or devices:
        wanted = "calibration" if calibrate else "residuals" if residuals else "models" if models else "devices"
        return _look_up(wanted, out, as_json)  # type: ignore[arg-type]
    from trimtab.api import forecast as verbs

    given = [*([recipe] if recipe and "=" in recipe else []), *(settings or [])]
    flags = {"model": model, "method": method, "max_length": cutoff, "per_device_train_batch_size": micro_batch}
    say = silent if as_json else lambda text: typer.echo(text, err=True)
    verb: Any = partial(verbs.solve, solve) if solve else verbs.forecast
    own = {k: v for k, v in flags.items() if v is not None}
    file = recipe if recipe and "=" not in recipe else None
    _print(
        verb(file, given, own, gpu=gpu, instant=instant, out=out, say=say), as_json, "solution" if solve else "forecast"
    )


def _look_up(what: Literal["calibration", "residuals", "models", "devices"], out: Path, as_json: bool) -> None:
    from trimtab.api import forecast as verbs

    if what == "calibration":
        return _print(verbs.probe(silent if as_json else typer.echo), as_json, what)
    if what == "residuals":
        return _print(verbs.residuals(out), as_json, what)
    return _print(verbs.catalogue(what), as_json, "catalogue")


def _print(shown: Any, as_json: bool, kind: str) -> None:
    if as_json:
        return print_json(shown)
    from trimtab.cli.show import forecast

    getattr(forecast, kind)(shown)
