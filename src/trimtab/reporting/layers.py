"""How fast each layer learned, as a picture. Takes rows from the uppermost down, gives SVG text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from trimtab.reporting.draw import _svg

LINE, NAMES, SPAN, LEAST = 22, 130, 300, 0.04


def layers(rows: Sequence[Mapping[str, Any]]) -> str:
    """A bar a layer, the rates on a logarithmic scale over one decade at least; what is frozen has none."""
    rates = [r["rate"] for r in rows if r["rate"]]
    if not rates:
        return ""
    high = max(rates)
    decades = max(1.0, math.log10(high / min(rates)))
    parts = []
    for i, row in enumerate(rows):
        y = 6 + LINE * i
        share = 1 - math.log10(high / row["rate"]) / decades if row["rate"] else 0.0
        width = SPAN * (LEAST + (1 - LEAST) * share) if row["rate"] else 0
        later = f", from {row['start']:.0%} of the run on" if row["start"] else ""
        told = f"{row['rate']:.2g}{later}" if row["rate"] else "not trained"
        parts += [
            f'<text class="tick" x="{NAMES - 10}" y="{y + 12}" text-anchor="end">{escape(row["name"])}</text>',
            f'<rect class="fill c0" x="{NAMES}" y="{y}" width="{width:.1f}" height="{LINE - 6}" fill-opacity="0.5"/>',
            f'<text class="tick" x="{NAMES + width + 8:.1f}" y="{y + 12}">{told}</text>',
        ]
    return _svg(NAMES + SPAN + 200, 10 + LINE * len(rows), "".join(parts), "How fast each layer learned")
