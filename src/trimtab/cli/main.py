"""The commands. Each reads its arguments, calls one api function and prints; errors become one sentence and exit
code 2.

Must stay quick: nothing heavy is imported before it is needed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.cli.card import adapter_scale, budget_app, card, gradient_shares, review
from trimtab.cli.folder import fetch, store, work
from trimtab.cli.forecast import forecast
from trimtab.cli.inside import inside
from trimtab.cli.label_errors import label_errors
from trimtab.cli.options import BudgetOption, Columns, Json, Out, Renamed, Settings, print_json, study_options
from trimtab.cli.plan import data, plan, precedents
from trimtab.cli.predict import predict
from trimtab.cli.study import attribute, study_app
from trimtab.errors import TrimtabError
from trimtab.spec.options import DEFAULT_OUT, Mode, StudyOptions
from trimtab.spec.status import Status
from trimtab.spec.words import CLASSIFIERS

if TYPE_CHECKING:
    from trimtab.store import RunRow

app = typer.Typer(
    cls=Renamed,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help=(
        "Find fine-tuning settings, prove them, and see what they did to the model's behaviour.\n\n"
        "First time: **trimtab demo** (about ten minutes on two cores, nothing to prepare).\n\n"
        "Your own: **trimtab tune MODEL DATA --time 30m**, then open the report that it names."
    ),
)

for command in (
    plan,
    precedents,
    data,
    forecast,
    card,
    inside,
    adapter_scale,
    gradient_shares,
    review,
    attribute,
    predict,
    label_errors,
    store,
    work,
    fetch,
):
    app.command()(command)
app.add_typer(budget_app, name="budget")
app.add_typer(study_app, name="study")

Certify = Annotated[
    bool, typer.Option("--certify", help="Train members one by one: bit-identical to single runs on CPU float32.")
]


@app.command()
@study_options("on", "workers", "out")
def tune(
    model: Annotated[str, typer.Argument(help="Hub id, local folder, GGUF file, bundled:smollm2 or bundled:minilm.")],
    data: Annotated[
        str, typer.Argument(help="JSONL, JSON, CSV or parquet file, a folder, hub id or bundled:home-commands.")
    ],
    options: StudyOptions,
    settings: Settings = None,
    budget: BudgetOption = None,
    time: Annotated[
        str | None, typer.Option(help="How long it may take, e.g. 30m or 2h; what does not fit is skipped and said.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="sft, text-classification or module:Class; told by the model when left out.")
    ] = None,
    columns: Columns = None,
    also: Annotated[str, typer.Option(help="Try after the epochs: rank, decay, or both with a comma.")] = "",
    explain: Annotated[
        bool, typer.Option("--explain", help="Print the decisions of the study that is there, with their evidence.")
    ] = False,
    certify: Certify = False,
    as_json: Json = False,
) -> None:
    """Plan, scan rates, batch and epochs, confirm with seeds, measure behaviour against a budget, recommend.

    Started again with the same arguments it continues where it was.
    """
    from trimtab.api import tune as verbs
    from trimtab.datasets.columns import columns_told, with_columns

    data, own = with_columns(data, [*(settings or []), *columns_told(columns)])
    if explain:
        return _explained(verbs.explain(model, data, options.out), as_json)
    parts = [a for a in also.split(",") if a]
    own = [*own, *([f"task={task}"] if task else [])]
    _tune(model, data, own, budget, time, parts, "certify" if certify else "fast", options, as_json)


def _tune(
    model: str,
    data: str,
    own: list[str],
    budget: str | None,
    time: str | None,
    also: list[str],
    mode: Mode,
    options: StudyOptions,
    as_json: bool,
) -> None:
    from trimtab.api import tune as verbs
    from trimtab.cli.live import Live
    from trimtab.spec.durations import parse

    seconds = parse(time) if time is not None else None
    if not as_json:
        for line in _ahead(model, data, budget, seconds, options):
            typer.echo(line)
    with Live(quiet=as_json, limit=seconds) as live:
        result = verbs.tune(
            model, data, budget=budget, seconds=seconds, out=options.out, own=own, mode=mode, also=also, on=options.on,
            workers=options.workers, watcher=live,
        )  # fmt: skip
    if as_json:
        return print_json(result)
    from trimtab.cli.show import results

    results.recommendation(result)


def _ahead(model: str, data: str, budget: str | None, seconds: float | None, options: StudyOptions) -> list[str]:
    """What will happen, how long, and where the report will be."""
    from trimtab.spec.durations import in_words

    limit = f"within {in_words(seconds)}" if seconds else "as long as it takes (--time 30m sets a limit)"
    return [
        f"{model} learns {data}: a plan, then rates, batches and lengths compared, the best one confirmed with other",
        f"seeds, and what that did to the model's behaviour measured against the budget {budget or 'standard'};",
        f"{limit}; stopped or killed, the same command goes on. The report: {options.out}/STUDY/report.html",
    ]


def _explained(explanation: dict[str, Any], as_json: bool) -> None:
    if as_json:
        return print_json({k: explanation[k] for k in ("study", "status", "plan", "steps", "recommendation")})
    from trimtab.cli.show import results

    results.explained(explanation)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe YAML: model, data, and any settings of transformers/PEFT.")],
    settings: Settings = None,
    budget: Annotated[
        str | None, typer.Option(help="Stop the run when it leaves this budget at two evaluations in a row.")
    ] = None,
    max_time: Annotated[
        str | None, typer.Option(help="Stop after this long, e.g. 20m; the last good weights are kept.")
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(help="Stop after this many training tokens (of another task: items of its size).", min=1),
    ] = None,
    certify: Certify = False,
    gradient_shares: Annotated[
        int,
        typer.Option(
            help=(
                "Take every Nth update example by example, for trimtab gradient-shares: such an update takes about four"
                " times as long "
                "(with 20: 10 to 15 %)."
            ),
            min=0,
        ),
    ] = 0,
    out: Out = DEFAULT_OUT,
    as_json: Json = False,
) -> None:
    """Train one recipe, or continue it where it was interrupted."""
    from trimtab.api import tune as verbs
    from trimtab.cli.live import Live
    from trimtab.spec.durations import parse

    with Live(quiet=as_json) as live:
        row = verbs.train(
            recipe,
            overrides=settings or [],
            out=out,
            budget=budget,
            max_seconds=parse(max_time, "--max-time") if max_time is not None else None,
            max_tokens=max_tokens,
            mode="certify" if certify else "fast",
            gradient_shares=gradient_shares,
            watcher=live,
        )
    _print_run(row, out / "runs" / row.id, as_json)
    if row.status == Status.FAILED:
        raise typer.Exit(1)


@app.command()
def runs(out: Out = DEFAULT_OUT, as_json: Json = False) -> None:
    """List the runs of a folder."""
    from trimtab.api import results as verbs

    rows = verbs.runs(out)
    if as_json:
        return print_json(
            [
                {
                    "id": r.id,
                    "status": r.status,
                    "reason": r.reason,
                    "study": r.study,
                    "recipe": r.recipe.model_dump(mode="json"),
                    **_small(r.result),
                }
                for r in rows
            ]
        )
    from trimtab.cli.show import results

    results.runs(rows)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="A run's id, or its beginning.")],
    second: Annotated[str, typer.Argument(help="Another run's.")],
    out: Out = DEFAULT_OUT,
    as_json: Json = False,
) -> None:
    """Two runs on the same items: what differs in their settings, and whether it made a difference."""
    from trimtab.api import results as verbs

    comparison = verbs.compare(first, second, out)
    if as_json:
        return print_json(comparison)
    from trimtab.cli.show import results

    results.comparison(comparison)


@app.command()
def report(
    study: Annotated[
        str | None, typer.Argument(help="A study's id, or its beginning; the newest when left out.")
    ] = None,
    out: Out = DEFAULT_OUT,
    as_json: Json = False,
) -> None:
    """Write a study's report (one HTML file, no network needed) and print its path."""
    from trimtab.api import results as verbs

    page, data = verbs.report(study, out)
    print_json(data) if as_json else typer.echo(str(page))


@app.command()
def demo(
    out: Out = DEFAULT_OUT,
    time: Annotated[str, typer.Option(help="How long it may take.")] = "9m",
    as_json: Json = False,
) -> None:
    """The main job on the bundled model and data: SmolLM2-135M learns to turn smart-home requests into JSON
    commands."""
    _tune("bundled:smollm2", "bundled:home-commands", [], "loose", time, [], "fast", StudyOptions(out=out), as_json)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"trimtab {version('trimtab')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _print_run(row: RunRow, folder: Path, as_json: bool) -> None:
    best, last = folder / "best", folder / "last"
    if as_json:
        weights = str(best if best.exists() else last)
        print_json(
            {"run": row.id, "status": row.status, "reason": row.reason, "weights": weights, **_small(row.result)}
        )
        return
    typer.echo(f"{row.id} {row.status}" + (f": {row.reason}" if row.reason else ""))
    if best.exists():
        loss, step = row.result["best_loss"], row.result["best_step"]
        metric = row.recipe.metric_for_best_model
        by = f"best {metric} at step {step} of {row.total_steps}, validation loss {loss:.4f} there"
        if metric == "loss" or row.recipe.task not in CLASSIFIERS:
            by = f"best validation loss {loss:.4f} at step {step} of {row.total_steps}"
        typer.echo(f"{by}; weights in {best}")
    elif last.exists():
        typer.echo(f"not evaluated yet; weights so far in {last}")


def _small(result: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in result.items() if k not in ("answers", "task")}


def run() -> None:
    """The entry point: what trimtab says on purpose is one sentence without a traceback."""
    try:
        app()
    except TrimtabError as error:
        typer.echo(f"trimtab: {error}", err=True)
        sys.exit(error.exit_code)
