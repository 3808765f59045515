"""The learning rate and everything it was decided from. Takes a query, gives value, band, both sources, precedents.
No torch.

Two sources: what people published for the nearest models (the prior) and a rule. For LoRA on instruction data the
rule is what was measured on 35 models, and it stands alone: copied defaults carry no outcome, and any weight on them
lost (bench/plan.py). Elsewhere the rule is a formula, and both are joined on the log scale. A recipe of the model's
own makers overrides both, and what was measured on this very model overrides that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from trimtab.planning import precedents, rate_sweep
from trimtab.planning.precedents import Precedent, PublishedRecipe, Query
from trimtab.planning.rule_table import compute, table
from trimtab.spec.words import TASKS

MEASURED_COUNTS = 1.0  # against the prior; chosen on the other families it is 0.9 to 1 for each of six
DISAGREE = 3.0
SMALL_NETWORK = 0.01  # billions of parameters: what bench/image_start.py measured
LIKE_SIZE = 3.0  # a family whose makers are further than this from the rule for full training is one of its own
PREFERENCE = ("dpo", "kto", "simpo", "orpo", "cpo", "mpo")
Without = Callable[[Any], bool]


def _none(_row: Any) -> bool:
    return False


@dataclass(frozen=True)
class Rate:
    """`bands`: share of published values that lies within this factor of such a prediction (held-out)."""

    value: float
    reason: str
    source: str
    bands: dict[str, float]
    rule: float | None
    rule_text: str
    prior: float | None
    maker: PublishedRecipe | None
    nearest: tuple[Precedent, ...]
    own: bool = False  # measured on this very model, or here: copied values say nothing against it

    @property
    def disagree(self) -> bool:
        """Whether prior and rule are more than a factor of three apart, with nothing of the model's own to override
        them."""
        return bool(
            self.maker is None
            and not self.own
            and self.prior
            and self.rule
            and max(self.prior / self.rule, self.rule / self.prior) > DISAGREE
        )

    @property
    def range(self) -> tuple[float, float]:
        return rounded(self.value / self.bands["80"]), rounded(self.value * self.bands["80"])


def decide(query: Query, without: Without = _none, without_curve: Without = _none) -> Rate:
    """The start rate for a query. `without` and `without_curve` leave rows and measured models out (held-out
    checks)."""
    near = precedents.nearest(query, without)
    prior = precedents.median(near)
    rule, rule_text, weight = _rule(query, without_curve)
    own, maker = _own_curve(query, without_curve), _makers(query, rule, without)
    if own:
        value, reason, source = own
        maker = None
    elif maker:
        value, reason, source = (
            maker[1],
            maker[2],
            f"{maker[0].repo} {maker[0].path} at {maker[0].commit or 'the paper'}",
        )
    elif prior is None:
        value, reason, source = rule, f"{rule_text}; nothing comparable is published", "rules.json"
    else:
        value, published = prior ** (1 - weight) * rule**weight, f"{prior:.1e} from {len(near)} published recipes"
        reason = f"{rule:.1e} from {rule_text}, {published}, joined on the log scale"
        source = "rules.json and recipes.csv"
        if weight == 1:
            reason = f"{rule:.1e} from {rule_text}; {published}, without outcomes, do not count"
            source = _row_of(query)["measured"] if _measured_here(query) else "sweep.csv"
    theirs = maker[0] if maker else None
    alone = own is not None or _measured_here(query)
    return Rate(rounded(value), reason, source, bands(query), rule, rule_text, prior, theirs, tuple(near), alone)


def bands(query: Query) -> dict[str, float]:
    """Factors that hold 50, 80 and 90 % of published values, held out by lineage (bench/plan.py)."""
    return table()["bands"][group(query)]


def group(query: Query) -> str:
    if query.task in PREFERENCE:
        return "preference"
    if query.task in ("image-classification", "text-classification"):
        return TASKS[query.task].code
    if query.task in precedents.INSTRUCTION:
        return f"sft {query.group}"
    return "other"


def batch_factor(batch: float | None, reference: float, optimizer: str = "adam", floor: bool = True) -> float:
    """How the rate follows the batch, the one rule: √k for Adam, k for SGD; at most 2.83 (rules.json: beyond a
    factor of eight in batch it is not trusted), and with `floor` at least its inverse."""
    if not batch:
        return 1.0
    most = table()["lr_batch_scaling"]["max_factor"]
    k = batch / reference
    return min(most, max(1 / most if floor else 0.0, k if optimizer == "sgd" else math.sqrt(k)))


def _own_curve(q: Query, without_curve: Without) -> tuple[float, str, str] | None:
    """(rate, in words, source) where this very model was measured."""
    curve = rate_sweep.curve_of(q.model, rate_sweep.sweep(without_curve))
    if curve is None or q.task not in precedents.INSTRUCTION or q.group == "full":
        return None
    best = rate_sweep.best_rate(curve.billions, [curve])
    text = f"measured best on this very model at batch 128 ({best:.1e}){_scaled(q, rate_sweep.BATCH)}"
    return best * batch_factor(q.batch, rate_sweep.BATCH), text, "sweep.csv"


def _rule(q: Query, without_curve: Without) -> tuple[float, str, float]:
    """(rate, in words, its weight against the prior)."""
    if q.task in precedents.INSTRUCTION and q.group != "full":
        best = rate_sweep.best_rate(q.billions, rate_sweep.sweep(without_curve))
        value = best * batch_factor(q.batch, rate_sweep.BATCH)
        text = f"models of like size measured at batch 128 ({best:.1e}){_scaled(q, rate_sweep.BATCH)}"
        return value, text, MEASURED_COUNTS
    rule = _row_of(q)
    names = {"N_B": q.billions, "B": q.batch or rule.get("ref_batch", 32)}
    value = compute(rule["formula"], **names)
    text = f"the rule for {rule['when']}"
    if q.task == "text-classification" and q.billions >= 1:
        text += " (from encoders: nothing of this size is published)"
    if rule.get("ref_batch") and "B" not in rule["formula"].replace("N_B", ""):
        value *= batch_factor(q.batch, rule["ref_batch"], q.optimizer)
        text += _scaled(q, rule["ref_batch"])
    if _measured_here(q):
        return value, f"{text}, measured here", MEASURED_COUNTS
    return value, text, 0.5


def _measured_here(q: Query) -> bool:
    """Whether the rule's row names the bench that it comes from."""
    return q.task not in precedents.INSTRUCTION and "measured" in _row_of(q)


def _scaled(q: Query, reference: float) -> str:
    """How the batch moves a rate, in words; the cap where it holds."""
    if not q.batch or q.batch == reference:
        return ""
    ratio = f"{q.batch:g}/{reference:g}"
    free = q.batch / reference if q.optimizer == "sgd" else math.sqrt(q.batch / reference)
    factor = batch_factor(q.batch, reference, q.optimizer)
    root = ratio if q.optimizer == "sgd" else f"√({ratio})"
    return (
        f", times {root}"
        if math.isclose(free, factor)
        else f", times {factor:.2g} for batch {ratio} (the most trusted)"
    )


def _row_of(q: Query) -> dict[str, Any]:
    kind = "full" if q.group == "full" else "lora"
    if q.task == "image-classification":
        name = "sgd" if q.optimizer == "sgd" else "adamw supervised checkpoint"
        name = "adamw + layer decay, self-supervised checkpoint" if q.layer_decay else name
        if q.optimizer != "sgd" and q.billions < SMALL_NETWORK:
            name = "small network from its frozen probe"
        return _by_name(f"vision {name}")
    if q.task == "text-classification":
        return _by_name(f"encoder cls {kind}")
    if q.task in PREFERENCE and q.task != "orpo":
        return _by_name(f"dpo/kto/simpo {kind}")
    if q.task in ("orpo", "embedding", "reward"):
        return _by_name({"orpo": "orpo full", "embedding": f"embed {kind}", "reward": f"reward model {kind}"}[q.task])
    return _by_name("llm full (sft, vlm-sft, cpt)")


def _by_name(when: str) -> dict[str, Any]:
    return next(r for r in table()["lr"] if r["when"] == when)


def _makers(q: Query, rule: float, without: Without) -> tuple[PublishedRecipe, float, str] | None:
    """(the row, rate, in words). An example (not a run) of the makers must lie inside the 90 % band of the rule."""
    if row := precedents.makers_own(q, without):
        value = (row.learning_rate or 0) * batch_factor(q.batch, row.batch or q.batch or 1, q.optimizer, floor=False)
        far = max(value / rule, rule / value)
        if row.kind in ("published_run", "paper_recalled", "measured") or far <= bands(q)["90"]:
            return row, value, f"the model's makers use {row.learning_rate:g} for this method{_at(q, row)}"
    full = replace(q, method="full")
    row = precedents.makers_own(full, without) if q.group != "full" else None
    if row and row.learning_rate and row.kind == "published_run":
        expected = compute(_row_of(full)["formula"], N_B=q.billions, B=row.batch or 64)
        if max(row.learning_rate / expected, expected / row.learning_rate) > LIKE_SIZE:
            value = 10 * row.learning_rate * batch_factor(q.batch, row.batch or q.batch or 1, q.optimizer, floor=False)
            return (
                row,
                value,
                (
                    f"the model's makers use {row.learning_rate:g} for full fine-tuning,"
                    f" {row.learning_rate / expected:.0f} times what its size suggests; ten times that for LoRA (LoRA"
                    f" Without Regret){_at(q, row)}"
                ),
            )
    return None


def _at(q: Query, row: PublishedRecipe) -> str:
    if not row.batch or not q.batch or row.batch == q.batch:
        return ""
    return (
        f", times {batch_factor(q.batch, row.batch, q.optimizer, floor=False):.2g} for batch {q.batch:g} instead of"
        f" {row.batch:g}"
    )


def rounded(value: float) -> float:
    """Two significant digits: the band is far wider than that."""
    return float(f"{value:.1e}")
