"""`trimtab forecast`: reads its arguments, calls the api, prints. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

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
    gpu: Annotated[
        str | None, typer.Option("--gpu", "--gpus", help='24GB, "RTX 4090", 2x80GB, …; this machine when left out.')
    ] = None,
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
    cards: Annotated[bool, typer.Option("--cards", help="List the known cards.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the store that earlier runs are learned from.")] = Path(
        "trimtab-out"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print data instead of text.")] = False,
) -> None:
    """Peak memory and time of a training job before it is launched; without weights, a card or a network.

    `trimtab forecast --model Qwen/Qwen2.5-7B-Instruct --method lora --cutoff 4096 --gpu 24GB`
    """
    if calibrate or residuals or models or cards:
        return _look_up(
            "calibration" if calibrate else "residuals" if residuals else "models" if models else "cards", out, as_json
        )
    from trimtab.forecasting import verbs

    given = [*([recipe] if recipe and "=" in recipe else []), *(settings or [])]
    flags = {"model": model, "method": method, "max_length": cutoff, "per_device_train_batch_size": micro_batch}
    say = None if as_json else lambda text: typer.echo(text, err=True)
    verb: Any = partial(verbs.solve, solve) if solve else verbs.forecast
    own = {k: v for k, v in flags.items() if v is not None}
    file = recipe if recipe and "=" not in recipe else None
    found = verb(file, given, own, gpu=gpu, instant=instant, out=out, say=say)
    _print(found, as_json, "solution" if solve else "forecast")


def _look_up(what: str, out: Path, as_json: bool) -> None:
    from trimtab.forecasting import verbs

    if what == "calibration":
        return _print(verbs.probe(None if as_json else typer.echo), as_json, what)
    if what == "residuals":
        return _print(verbs.residuals(out), as_json, what)
    return _print(verbs.catalogue(what), as_json, "catalogue")


def _print(found: Any, as_json: bool, kind: str) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    from trimtab.cli import memory

    getattr(memory, kind)(found)
