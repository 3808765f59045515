"""How each number of the card is made of raw values: its interval, and the two values that stand beside it. Pure; a
table by key.

What a number is called and limited by is its row in spec/numbers.csv.
"""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.analysis.intervals import (
    Made,
    Value,
    auc,
    change,
    degenerate_change,
    ece,
    ece_of,
    gain,
    gap,
    items,
    items_of_one,
    mean,
    medians,
    overconfidence,
    overconfident,
    ratio,
    share,
    share_change,
    task_sure_wrong,
    task_value,
    top,
    worst_class,
)
from trimtab.analysis.label_scores import Score, auroc, changed, macro_f1, mcc, of_side
from trimtab.spec.numbers import CLASS, OWN, is_number, number_of


@dataclass(frozen=True)
class Shown:
    """`interval` is what a limit is held against (a change, where there is a base value); `base` and `tuned` are
    shown beside it."""

    interval: Made
    base: Value = lambda _raw: None
    tuned: Value = lambda _raw: None


def _pair(interval: Made, name: str) -> Shown:
    """Raw values called so, for base and tuned alike."""
    return Shown(interval, mean(f"{name}_base"), mean(f"{name}_tuned"))


def _scored(score: Score, key: str) -> Shown:
    return Shown(changed(score, key), of_side(score, key, "base"), of_side(score, key, "tuned"))


INTERVALS: dict[str, Shown] = {
    "kl_generic": Shown(items("kl_generic")),
    "kl_pulse": Shown(items("kl_pulse")),
    "kl_first_token": Shown(items("kl_first_token")),
    "kl_opening": Shown(items("kl_opening")),
    "kl_rest": Shown(items("kl_rest")),
    "kl_p99": Shown(items("kl_p99")),
    "same_choice": Shown(items("same_choice")),
    "kl_task": Shown(items("kl_task")),
    "nll_change": _pair(change("nll"), "nll"),
    "length_ratio": Shown(ratio("log_length_ratio")),
    "cut": Shown(share("cut_tuned"), mean("cut_base"), mean("cut_tuned")),
    "assertiveness": _pair(change("assertive"), "assertive"),
    "unhedged_wrong": _pair(share_change("unhedged_wrong"), "unhedged_wrong"),
    "degeneration": _pair(degenerate_change, "degenerate"),
    "refusal": _pair(share_change("refused"), "refused"),
    "refusal_partly": _pair(share_change("refused_partly"), "refused_partly"),
    "over_refusal": _pair(share_change("over_refused"), "over_refused"),
    "refusal_margin": _pair(change("margin"), "margin"),
    "format_validity": Shown(share("format_validity"), mean("base_format_validity"), mean("format_validity")),
    "format_obeyed": _pair(share_change("form"), "form"),
    "format_unfenced": _pair(share_change("form_loose"), "form_loose"),
    "facts_lost": _pair(share_change("right", -1), "right"),
    "flips": Shown(share("flipped")),
    "brier": _pair(change("brier"), "brier"),
    "overconfidence": Shown(overconfident(), overconfidence("base"), overconfidence("tuned")),
    "ece": Shown(ece(), ece_of("base"), ece_of("tuned")),
    "confident_wrong": _pair(share_change("sure_wrong"), "sure_wrong"),
    "entropy": _pair(change("entropy"), "entropy"),
    "task_confident_wrong": Shown(task_sure_wrong, task_value("base_"), task_value("")),
    "disagreement": _pair(share_change("disagreement"), "disagreement"),
    "fragility": _pair(share_change("fragile"), "fragile"),
    "worst_phrasing": _pair(share_change("worst_right"), "worst_right"),
    "phrasing_shift": _pair(change("variant_shift"), "variant_shift"),
    "memorisation": Shown(auc),
    "memory_gap": Shown(gap),
    "exact_match": Shown(share("exact_match"), mean("base_exact_match"), mean("exact_match")),
    "exact_match_gain": Shown(gain),
    "overlap": Shown(items_of_one("overlap"), mean("base_overlap"), mean("overlap")),
    **{k: Shown(items_of_one(k), mean(f"base_{k}"), mean(k)) for k in ("bleu", "chrf", "rouge_l")},
    "label_accuracy": _pair(share_change("label_right"), "label_right"),
    "label_f1": _scored(macro_f1, "label_pick"),
    "label_mcc": _scored(mcc, "label_pick"),
    "label_auroc": _scored(auroc, "label_probabilities"),
    "label_worst_class": Shown(worst_class),
    "label_brier": _pair(change("label_brier"), "label_brier"),
    "label_overconfidence": Shown(
        overconfident("label_"), overconfidence("base", "label_"), overconfidence("tuned", "label_")
    ),
    "label_ece": Shown(ece("label_"), ece_of("base", "label_"), ece_of("tuned", "label_")),
    "label_confident_wrong": _pair(share_change("label_sure_wrong"), "label_sure_wrong"),
    "label_fragility": _pair(share_change("label_fragile"), "label_fragile"),
    "representation_drift": Shown(items("representation_drift")),
    "dominance": Shown(top("dominance")),
    "weight_change": Shown(items("weight_change")),
    "intruders": Shown(items("intruders")),
    "first_token_time": _pair(medians("first_token_seconds"), "first_token_seconds"),
    "token_time": _pair(medians("token_seconds"), "token_seconds"),
    "answer_memory": _pair(medians("peak_bytes"), "peak_bytes"),
}


def shown(key: str) -> Shown:
    """Of the card, of one label (class-LABEL), or a person's own probe (own-NAME)."""
    return _pair(share_change(key), key) if key.startswith((CLASS, OWN)) else INTERVALS[key]


_OTHERS = {"sure": "share", "right": "share", "sure minus right": "share"}  # what studies know besides the card


def unit_of(key: str, loss_unit: str) -> str:
    """Of anything that a study measures; nothing where it has none that is known."""
    if key == "validation loss":
        return loss_unit
    return number_of(key).unit if is_number(key) else _OTHERS.get(key, "")
