"""Voting in the terminal: one pair at a time, blind, by single keys. Takes a run, writes votes through the api, prints.

On a terminal a key is enough; elsewhere (a pipe, a test) lines are read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.panel import Panel

from trimtab.api import review
from trimtab.cli.show.plain import visible

VOTES = {"1": "left", "2": "right", "0": "tie", " ": "tie"}


def ask_votes(run: str, other: str | None, n: int, out: Path) -> None:
    """Goes through the pairs that have no vote yet; stored one by one."""
    console = Console(highlight=False)
    asked = review.review(run, other, n=n, out=out)
    pairs, at = asked["pairs"], 0
    console.print(
        f"{len(pairs)} pairs, {sum(p['vote'] is not None for p in pairs)} voted. 1 left/upper, 2 lower, 0 tie, b back,"
        " q stop",
        style="dim",
    )
    while at < len(pairs):
        pair = pairs[at]
        if pair["vote"] is None:
            _show(console, pair, at, len(pairs))
            key = _key("012 bq")
            if key == "q":
                return
            if key == "b":
                at = max(0, at - 1)
                pairs[at]["vote"] = None
                continue
            side = VOTES[key]
            vote = side if side == "tie" else ("second" if (side == "left") == pair["swapped"] else "first")
            pair["vote"] = vote
            review.vote(asked["review"], pair["place"], vote, out)
        at += 1


def ask_labels(run: str, _other: str | None, n: int, out: Path) -> None:
    """Answers of base and tuned model mixed, without saying whose: does it refuse?"""
    console = Console(highlight=False)
    todo = review.to_label(run, n=n, out=out)
    console.print(f"{len(todo)} answers to go. y: refuses, n: does not (or not wholly), q stop", style="dim")
    for i, answer in enumerate(todo, 1):
        console.print(f"\n[bold]{i}/{len(todo)}[/]")
        console.print(Panel(_plain(answer["prompt"]), title="asked"), Panel(_plain(answer["answer"]), title="answer"))
        key = _key("ynq")
        if key == "q":
            return
        review.label(answer, float(key == "y"), out)


def _show(console: Console, pair: Mapping[str, Any], at: int, whole: int) -> None:
    one, two = (pair["second"], pair["first"]) if pair["swapped"] else (pair["first"], pair["second"])
    console.print(f"\n[bold]{at + 1}/{whole}[/]")
    console.print(Panel(_plain(pair["prompt"]), title="asked", style="dim"))
    console.print(Panel(_plain(one), title="1"))
    console.print(Panel(_plain(two), title="2"))


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(visible(text) or "(empty)")


def _key(allowed: str) -> str:
    """One of the allowed keys; the end of the input, or Ctrl-C, stops."""
    read: Callable[[], str] = click.getchar if sys.stdin.isatty() else _line
    while True:
        key = read().lower()[:1]  # two quick keys come as one text
        if key in ("", "\x03", "\x04"):
            return "q"
        if key in allowed:
            return key


def _line() -> str:
    line = sys.stdin.readline()
    return line[0] if line.strip() else line and " "


def show_result(voted: Mapping[str, Any]) -> None:
    """What the votes say so far."""
    console = Console(highlight=False, soft_wrap=True)
    result = voted["result"]
    console.print(f"\n{result['sentence']}")
    if voted["same"]:
        console.print(f"{voted['same']} of {voted['whole']} answers are the same in both and were not asked.")
    if level := result["rate_at_equal_length"]:
        console.print(
            f"At equal length {result['names'][1]} would win {level['value']:.0%} [{level['low']:.0%},"
            f" {level['high']:.0%}]."
        )
    if voted["strengths"]:
        console.print("\nAll votes of this folder together (Bradley–Terry, 0 is the average):")
        for row in voted["strengths"]:
            console.print(f"  {row['name']}: {row['value']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]")


def show_changed(changed: Mapping[str, Any]) -> None:
    """The most changed answers, for reading."""
    console = Console(highlight=False)
    console.print("The most changed answers: for reading, no rate can be read off them\n", style="dim")
    for pair in changed["changed"]:
        console.print(Panel(_plain(pair["prompt"]), title="asked", style="dim"))
        for name, side in zip(changed["result"]["names"], ("first", "second"), strict=True):
            console.print(Panel(_plain(pair[side]), title=name))
