"""`trimtab plan`, `precedents` and `data`: read their arguments, call the api, print. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

HERE = Path("trimtab-out")  # looked into where it is there

Model = Annotated[str, typer.Argument(help="Catalogue name, hub id, local folder, GGUF file or bundled:smollm2.")]
DataArgument = Annotated[
    str,
    typer.Argument(
        help="File, folder, hub id, bundled:home-commands, or sketch:5000x2048 for data you do not have yet."
    ),
]
Gpu = Annotated[
    str | None, typer.Option("--gpu", "--gpus", help='24GB, "RTX 4090", 2x80GB, …; this machine when left out.')
]
Task = Annotated[
    str | None,
    typer.Option(
        help="sft, classification, vision, dpo, …; and simple, ordinary or complex. Both: classification,simple."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print data instead of text.")]
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
    risk: Annotated[
        str, typer.Option(help="tight, standard or loose: tight halves the rate and keeps passes few.")
    ] = "standard",
    out: Annotated[Path | None, typer.Option(help="Write the plan as a page that `trimtab train` runs.")] = None,
    explain: Annotated[str | None, typer.Option(help="Every input of one setting.")] = None,
    instant: Annotated[
        bool, typer.Option("--instant", help="Memory by closed form: no trace, answers at once, less exact.")
    ] = False,
    studies: Annotated[Path, typer.Option(help="Folder of earlier studies to look into.")] = HERE,
    as_json: Json = False,
) -> None:
    """Settings to start from, each with its reason, source and range; whether they fit; risks; what to try next.

    `trimtab plan Qwen/Qwen2.5-7B-Instruct my.jsonl --gpu 24GB --out plan.yaml`
    """
    from trimtab import api
    from trimtab.errors import SpecError, did_you_mean

    if studies != HERE and not studies.exists():
        raise SpecError(
            "--studies", [f"there is no folder {studies}; name one that trimtab wrote (--out of earlier runs)"]
        )
    with _progress(as_json) as (say, progress):
        found = api.plan(
            model, data, gpu=gpu, method=method, task=task, risk=risk, own=settings or [], instant=instant, studies=studies, say=say, progress=progress
        )  # fmt: skip
    if explain:
        names = [r["setting"] for r in found["settings"]]
        if explain not in names:
            raise SpecError(
                "--explain",
                [f'there is no setting "{explain}"{did_you_mean(explain, names)}; the plan has {", ".join(names)}'],
            )
    if out:
        api.write_page(found, out)
    if as_json:
        wanted = found if not explain else next(r for r in found["settings"] if r["setting"] == explain)
        return typer.echo(json.dumps(wanted, indent=1, ensure_ascii=False))
    from trimtab.cli import plans

    plans.explained(found, explain) if explain else plans.plan(found)
    if out:
        typer.echo(
            f"\nWritten to {out}"
            + (
                f"; run it: trimtab train {out}" + (" data=FILE" if data.startswith("sketch:") else "")
                if found["recipe"]
                else ""
            )
        )


def precedents(
    model: Model,
    method: Annotated[str, typer.Option(help="full, lora or qlora.")] = "lora",
    task: Task = None,
    batch: Annotated[float | None, typer.Option(help="Effective batch to be near to.", min=1)] = None,
    count: Annotated[int, typer.Option(help="How many to show.", min=1)] = 10,
    as_json: Json = False,
) -> None:
    """The nearest published recipes, with links, and the quartiles of their settings."""
    from trimtab import api

    found = api.precedents(model, method=method, task=task, batch=batch, count=count)
    if as_json:
        return typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
    from trimtab.cli import plans

    plans.precedents(found)


def data(
    data: DataArgument,
    model: Annotated[
        str | None, typer.Option(help="Count its tokens, show its template, and say what each cutoff costs.")
    ] = None,
    gpu: Gpu = None,
    against: Annotated[str | None, typer.Option(help="Other data: how different these are from those.")] = None,
    as_json: Json = False,
) -> None:
    """What is in the data: copies, leakage, cut answers, labels, languages, lengths, and what each cutoff cuts and costs."""
    from trimtab import api

    with _progress(as_json) as (say, progress):
        found = api.data(data, model=model, gpu=gpu, against=against, say=say, progress=progress)
    if as_json:
        return typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
    from trimtab.cli import plans

    plans.data(found)


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
