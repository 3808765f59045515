"""Which labels are taken for which: a matrix where there are few, the commonest mistakes where there are many. Takes
answers side by side, gives SVG text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from trimtab.reporting.draw import _svg

MATRIX = 16  # labels at most; more are no picture
MISTAKES = 15
CELL, LEFT, TOP = 46, 150, 96
LINE, NAMES, SPAN = 24, 330, 300


def confusion(samples: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> str:
    """Of the task's held-out examples, `reference` against `tuned`; empty where the answers are no labels."""
    pairs = [((s["reference"] or "").strip(), s["tuned"].strip()) for s in samples if s["probe"] == "task"]
    labels = sorted({truth for truth, _ in pairs})
    if not any(r["number"] == "label_accuracy" for r in rows) or not {said for _, said in pairs} <= set(labels):
        return ""
    return _matrix(pairs, labels) if len(labels) <= MATRIX else _mistakes(pairs)


def _matrix(pairs: Sequence[tuple[str, str]], labels: Sequence[str]) -> str:
    """A row a true label: shaded by the share of its examples that were given the column's label."""
    counts, of = Counter(pairs), Counter(truth for truth, _ in pairs)
    parts = [
        f'<text class="tick" x="{LEFT}" y="{TOP - 76}">given as</text>',
        f'<text class="tick" x="{LEFT - 12}" y="{TOP - 76}" text-anchor="end">is</text>',
    ]
    for i, label in enumerate(labels):
        x, y = LEFT + CELL * i, TOP + CELL * i
        parts.append(
            f'<text class="tick" transform="translate({x + CELL / 2 - 4},{TOP - 8}) rotate(-35)">{_short(label)}</text>'
        )
        parts.append(
            f'<text class="tick" x="{LEFT - 12}" y="{y + CELL / 2 + 3}" text-anchor="end">{_short(label)}'
            f" ({of[label]})</text>"
        )
        parts += [_cell(i, j, counts[label, said], of[label]) for j, said in enumerate(labels)]
    return _svg(LEFT + CELL * len(labels) + 60, TOP + CELL * len(labels) + 6, "".join(parts), "What is taken for what")


def _cell(row: int, column: int, count: int, of: int) -> str:
    x, y, share = LEFT + CELL * column, TOP + CELL * row, count / max(1, of)
    kind = "fill c0" if row == column else "fill c1"
    shade = 0.4 * share if row == column else min(0.6, 1.2 * share)  # a mistake stands out
    box = f'<rect class="{kind}" x="{x}" y="{y}" width="{CELL - 3}" height="{CELL - 3}" fill-opacity="{shade:.2f}"/>'
    if not count:
        return box
    return f'{box}<text class="label" x="{x + CELL / 2 - 2}" y="{y + CELL / 2 + 3}" text-anchor="middle">{count}</text>'


def _mistakes(pairs: Sequence[tuple[str, str]]) -> str:
    """The commonest, a bar each."""
    wrong = Counter((t, s) for t, s in pairs if t != s).most_common(MISTAKES)
    if not wrong:
        return ""
    most, parts = wrong[0][1], []
    for i, ((truth, said), count) in enumerate(wrong):
        y = 8 + LINE * i
        text = f"{_short(truth)} given as {_short(said)}"
        parts.append(f'<text class="tick" x="{NAMES - 10}" y="{y + 14}" text-anchor="end">{text}</text>')
        width = SPAN * count / most
        parts.append(
            f'<rect class="fill c1" x="{NAMES}" y="{y}" width="{width:.1f}" height="{LINE - 6}" fill-opacity="0.5"/>'
        )
        parts.append(f'<text class="tick" x="{NAMES + width + 8:.1f}" y="{y + 14}">{count}</text>')
    return _svg(NAMES + SPAN + 60, 14 + LINE * len(wrong), "".join(parts), "The commonest mistakes")


def _short(label: str) -> str:
    return escape(label if len(label) <= 20 else f"{label[:19]}…")
