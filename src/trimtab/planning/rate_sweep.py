"""LoRA rates that were measured: 35 models, each at several rates. Takes a size, gives the rate that loses least. No
torch.

Source: thinking-machines-lab/tinker-cookbook, sft_sweep.md (Apache-2.0): Tulu-3, batch 128, 780 steps. The rate of a
new model is the one with the least weighted mean regret on the measured models of like size; between measured rates,
a monotone cubic on the log of the rate. Beyond the measured rates a curve is held at its end: what was not run is
not guessed.
"""

from __future__ import annotations

import csv
import math
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise

BATCH = 128
# in log10 of the size; with 0.1 to 1.0 the planned start loses 0.0007 to 0.0020 nats on average, held out
# (bench/plan.py)
REACH = 0.15
STEP = 3.0
_GRID = [math.log(4e-5) + i * math.log(3e-3 / 4e-5) / 199 for i in range(200)]
_SIZES = {"kimi": 1000.0, "deepseek-v3": 671.0}  # their names do not say


@dataclass(frozen=True)
class Curve:
    """Test loss (nats a token) of one model at its highest rank by learning rate; `regret` is loss above its best."""

    model: str
    family: str
    billions: float
    rates: tuple[float, ...]
    losses: tuple[float, ...]

    def regret(self, rate: float) -> float:
        """Loss above the curve's best at this rate, nats/token."""
        x = math.log(min(max(rate, self.rates[0]), self.rates[-1]))
        return _cubic([math.log(r) for r in self.rates], self.losses, x) - min(self.losses)


def best_rate(billions: float, curves: Sequence[Curve]) -> float:
    """The rate at batch 128 with the least weighted mean regret."""
    weights = _weights(billions, curves)
    table = [_on_grid(c) for c in curves]
    means = [sum(w * t[i] for w, t in zip(weights, table, strict=True)) for i in range(len(_GRID))]
    least = min(means)
    flat = [x for x, m in zip(_GRID, means, strict=True) if m <= least + 1e-9]
    return math.exp(sum(flat) / len(flat))


def second_rate(start: float, billions: float, curves: Sequence[Curve]) -> float:
    """Three times up or down: the one that, together with the start, leaves less."""
    weights = _weights(billions, curves)

    def left(other: float) -> float:
        return sum(w * min(c.regret(start), c.regret(other)) for w, c in zip(weights, curves, strict=True))

    return min((start * STEP, start / STEP), key=left)


def expected(rate: float, billions: float, curves: Sequence[Curve]) -> float:
    """Weighted mean regret of a rate on models of like size, nats a token."""
    weights = _weights(billions, curves)
    return sum(w * c.regret(rate) for w, c in zip(weights, curves, strict=True)) / sum(weights)


def sweep(without: Callable[[Curve], bool] = lambda _curve: False) -> list[Curve]:
    return [c for c in _curves() if not without(c)]


def curve_of(model: str | None, curves: Sequence[Curve]) -> Curve | None:
    """The one that was measured on this very model."""
    bare = lambda name: name.rsplit("/", 1)[-1].lower()  # noqa: E731
    return next((c for c in curves if model and bare(c.model) == bare(model)), None)


@cache
def _on_grid(curve: Curve) -> tuple[float, ...]:
    return tuple(curve.regret(math.exp(x)) for x in _GRID)


def _weights(billions: float, curves: Sequence[Curve]) -> list[float]:
    return [math.exp(-abs(math.log10(c.billions / billions)) / REACH) for c in curves]


@cache
def _curves() -> tuple[Curve, ...]:
    text = files("trimtab.planning").joinpath("sweep.csv").read_text(encoding="utf-8")
    by_model: dict[str, dict[int, dict[float, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in csv.DictReader(text.splitlines()):
        by_model[row["model"]][int(row["lora_rank"])][float(row["lr"])] = float(row["test_nll"])
    curves = []
    for model, ranks in by_model.items():
        points = sorted(ranks[max(ranks)].items())
        curves.append(Curve(model, family(model), size(model), *zip(*points, strict=True)))
    return tuple(curves)


def family(model: str) -> str:
    return re.split(r"[-.\d]", model.rsplit("/", 1)[-1].lower().replace("nvidia-", "").replace("gpt-oss", "gptoss"))[0]


def size(model: str) -> float:
    """Billions of parameters, all experts counted."""
    for name, billions in _SIZES.items():
        if name in model.lower():
            return billions
    written = re.search(r"-(\d+(?:\.\d+)?)b", model.lower())
    return float(written[1]) if written else math.nan


def _cubic(x: Sequence[float], y: Sequence[float], at: float) -> float:
    """Fritsch and Carlson's monotone cubic: no swings between points."""
    if len(x) == 1:
        return y[0]
    steps = [b - a for a, b in pairwise(x)]
    slopes = [(b - a) / h for a, b, h in zip(y, y[1:], steps, strict=False)]
    ends = (slopes[0], slopes[-1])
    inner = [_joined(a, b, g, h) for a, b, g, h in zip(slopes, slopes[1:], steps, steps[1:], strict=False)]
    tangents = [ends[0], *inner, ends[1]]
    i = next((i for i in range(len(steps)) if at <= x[i + 1]), len(steps) - 1)
    h, t = steps[i], (at - x[i]) / steps[i]
    return (
        y[i] * (1 + 2 * t) * (1 - t) ** 2 + h * tangents[i] * t * (1 - t) ** 2
        + y[i + 1] * t * t * (3 - 2 * t) + h * tangents[i + 1] * t * t * (t - 1)
    )  # fmt: skip


def _joined(a: float, b: float, g: float, h: float) -> float:
    if a * b <= 0:
        return 0.0
    return 3 * (g + h) / ((2 * h + g) / a + (h + 2 * g) / b)
