"""What the commands share: options spelled once, the flags of StudyOptions, results printed as data, and names that
were changed.

Old names work for one release, with a line that says the new one.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperGroup

from trimtab.spec.options import StudyOptions

Out = Annotated[Path, typer.Option(help="Folder of the store, the weights and the reports.")]
Json = Annotated[bool, typer.Option("--json", help="Print data instead of text.")]
BudgetOption = Annotated[str | None, typer.Option(help="tight, standard, loose, or a YAML file with your limits.")]
Settings = Annotated[list[str] | None, typer.Argument(help="Your own settings, e.g. learning_rate=1e-4 r=8.")]
Columns = Annotated[
    str | None,
    typer.Option(
        help='Columns: prompt=question,answer=reply or text=…,label=…; several in one: "prompt={title}: {body}".'
    ),
]
Gpu = Annotated[
    str | None, typer.Option("--gpu", "--gpus", help='24GB, "RTX 4090", 2x80GB, …; this machine when left out.')
]

Command = Callable[..., None]
OLD_COMMANDS = {"voices": "gradient-shares", "dose": "adapter-scale"}
OLD_OPTIONS = {
    "--trunk": "--share-start",
    "--no-trunk": "--no-share-start",
    "--voices": "--gradient-shares",
    "--cards": "--devices",
}


class Renamed(TyperGroup):
    """Commands and options by their old names too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = next((i for i, a in enumerate(args) if not a.startswith("-")), None)
        renamed = [_renamed(a, OLD_COMMANDS if i == first else OLD_OPTIONS) for i, a in enumerate(args)]
        return super().parse_args(ctx, renamed)


def _renamed(given: str, new: Mapping[str, str]) -> str:
    name, sign, value = given.partition("=")
    if name not in new:
        return given
    typer.echo(f"{name} is called {new[name]} now; the old name goes with the next release", err=True)
    return f"{new[name]}{sign}{value}"


def study_options(*names: str) -> Callable[[Command], Command]:
    """The command gets `options: StudyOptions`; people get a flag for each of its fields that is named."""
    hints = get_type_hints(StudyOptions)
    fields = [f for f in dataclasses.fields(StudyOptions) if f.name in names]
    flags = [_flag(f, hints[f.name]) for f in fields]

    def wrap(command: Command) -> Command:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            chosen = {name: given.pop(name) for name in names}
            command(**given, options=StudyOptions(**chosen))

        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "options"]
        last = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own if p.name == "as_json"]
        every = [*(p for p in own if p.name != "as_json"), *flags, *last]
        run.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in every}
        return run

    return wrap


def _flag(field: dataclasses.Field[Any], kind: Any) -> inspect.Parameter:
    known = field.metadata
    names = [known["flag"]] if "flag" in known else []
    option = typer.Option(*names, help=known["help"], show_default=known.get("shown", True))
    kind = str | None if field.name in ("budget", "card") else kind  # checked with all the others, in one sentence
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=Annotated[kind, option]
    )


def print_json(value: Any) -> None:
    """Data as the commands print it."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))
