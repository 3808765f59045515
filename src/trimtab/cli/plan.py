"""`trimtab plan`, `precedents` and `data`: read their arguments, call the api, print. Nothing heavy is imported
before it is needed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from trimtab.cli.options import Columns, Gpu, Json, print_json
from trimtab.spec.options import DEFAULT_OUT

Model = Annotated[str, typer.Argument(help="Catalogue name, hub id, local folder, GGUF file or bundled:smollm2.")]
DataArgument = Annotated[
    str,
    typer.Argument(
        help="File, folder, hub id, bundled:home-commands, or sketch:5000x2048 for data you do not have yet."
    ),
]
Task = Annotated[
    str | None,
    typer.Option(
        help=(
            "sft, text-classification, image-classification, dpo, …; and simple, ordinary or complex. Both: sft,simple."
        )
    ),
]
SLOW = 2.0  # seconds before a bar is worth showing


def plan(
    model: Model,
    data: DataArgument,
    settings: Annotated[
        list[str] | None, typer.Argument(help="Your own settings, e.g. learning_rate=1e-4 r=8; they win.")
    ] = None,
    gpu: Gpu = None,
    method: Annotated[str, typer.Option(help="auto, full, lora or qlora.")] = "auto",
    task: Task = None,
    columns: Columns = None,
    risk: Annotated[
        str, typer.Option(help="tight, standard or loose: tight halves the rate and keeps passes few.")
    ] = "standard",
    out: Annotated[Path | None, typer.Option(help="Write the plan as a page that `trimtab train` runs.")] = None,
    explain: Annotated[str | None, typer.Option(help="Every input of one setting.")] = None,
    instant: Annotated[
        bool, typer.Option("--instant", help="Memory by closed form: no trace, answers at once, less exact.")
    ] = False,
    studies: Annotated[Path, typer.Option(help="Folder of earlier studies to look into.")] = DEFAULT_OUT,
    as_json: Json = False,
) -> None:
    """Settings to start from, each with its reason, source and range; whether they fit; risks; what to try next.

    `trimtab plan Qwen/Qwen2.5-7B-Instruct my.jsonl --gpu 24GB --out plan.yaml`
    """
    from trimtab.api import plan as verbs
    from trimtab.datasets.columns import columns_told
    from trimtab.errors import SpecError

    if studies != DEFAULT_OUT and not studies.exists():
        raise SpecError(
            "--studies", [f"there is no folder {studies}; name one that trimtab wrote (--out of earlier runs)"]
        )
    with _progress(as_json) as (say, progress):
        made = verbs.plan(
            model,
            data,
            gpu=gpu,
            method=method,
            task=task,
            risk=risk,
            own=[*(settings or []), *columns_told(columns)],
            instant=instant,
            studies=studies,
            say=say,
            progress=progress,
        )
    if explain:
        _check_named(explain, [r["setting"] for r in made["settings"]])
    if out:
        verbs.write_page(made, out)
    if as_json:
        return print_json(next((r for r in made["settings"] if r["setting"] == explain), made))
    from trimtab.cli.show import plan

    plan.explained(made, explain) if explain else plan.plan(made)
    if out:
        after = " data=FILE" if data.startswith("sketch:") else ""
        typer.echo(f"\nWritten to {out}" + (f"; run it: trimtab train {out}{after}" if made["recipe"] else ""))


def _check_named(setting: str, names: Sequence[str]) -> None:
    from trimtab.errors import SpecError, did_you_mean

    if setting not in names:
        near = did_you_mean(setting, names)
        raise SpecError("--explain", [f'there is no setting "{setting}"{near}; the plan has {", ".join(names)}'])


def precedents(
    model: Model,
    method: Annotated[str, typer.Option(help="full, lora or qlora.")] = "lora",
    task: Task = None,
    batch: Annotated[float | None, typer.Option(help="Effective batch to be near to.", min=1)] = None,
    count: Annotated[int, typer.Option(help="How many to show.", min=1)] = 10,
    as_json: Json = False,
) -> None:
    """The nearest published recipes, with links, and the quartiles of their settings."""
    from trimtab.api import plan as verbs

    nearest = verbs.precedents(model, method=method, task=task, batch=batch, count=count)
    if as_json:
        return print_json(nearest)
    from trimtab.cli.show import plan

    plan.precedents(nearest)


def data(
    data: DataArgument,
    model: Annotated[
        str | None, typer.Option(help="Count its tokens, show its template, and say what each cutoff costs.")
    ] = None,
    gpu: Gpu = None,
    against: Annotated[str | None, typer.Option(help="Other data: how different these are from those.")] = None,
    columns: Columns = None,
    as_json: Json = False,
) -> None:
    """What is in the data: copies, leakage, cut answers, labels, languages, lengths, and what each cutoff cuts and
    costs."""
    from trimtab.api import plan as verbs
    from trimtab.datasets.columns import columns_told, with_columns

    data, _ = with_columns(data, columns_told(columns))
    with _progress(as_json) as (say, progress):
        survey = verbs.data(data, model=model, gpu=gpu, against=against, say=say, progress=progress)
    if as_json:
        return print_json(survey)
    from trimtab.cli.show import plan

    plan.data(survey)


@contextmanager
def _progress(quiet: bool) -> Iterator[tuple[Callable[[str], None], Callable[[str, int, int], None]]]:
    """Notes and a bar on standard error; the bar only for what takes longer than two seconds."""
    if quiet or not sys.stderr.isatty():
        yield (lambda _: None) if quiet else (lambda text: typer.echo(text, err=True)), lambda *_: None
        return
    from rich.console import Console
    from rich.progress import Progress

    began, bar = time.monotonic(), Progress(console=Console(stderr=True), transient=True)
    tasks: dict[str, Any] = {}

    def advance(stage: str, done: int, total: int) -> None:
        if time.monotonic() - began > SLOW and not bar.live.is_started:
            bar.start()
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage, total=total)
        bar.update(tasks[stage], completed=done)

    try:
        yield bar.console.print, advance
    finally:
        bar.stop()
