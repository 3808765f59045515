"""Every number of the card: what it is called and how its interval is made. Pure; a table."""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.analysis import forms
from trimtab.analysis.forms import Made, Raw, Value


@dataclass(frozen=True)
class Number:
    """`interval` is what a limit is held against (a change, where there is a base value); `base` and `tuned` are shown beside it."""

    group: str
    title: str
    unit: str
    interval: Made
    base_of: Value = lambda _raw: None
    tuned_of: Value = lambda _raw: None
    pair: str | None = None  # raw values called so, for base and tuned alike
    items: str = "items"  # what there would have to be more of

    def base(self, raw: Raw) -> float | None:
        return forms.mean(f"{self.pair}_base")(raw) if self.pair else self.base_of(raw)

    def tuned(self, raw: Raw) -> float | None:
        return forms.mean(f"{self.pair}_tuned")(raw) if self.pair else self.tuned_of(raw)


NATS, SHARE, CHANGE = "nats/token", "share", "change of the share"
CARD: dict[str, Number] = {
    "kl_generic": Number("drift", "Drift on generic prompts, KL(base‖tuned)", NATS, forms.items("kl_generic"), items="prompts"),
    "kl_first_token": Number("drift", "… of the first answer token", NATS, forms.items("kl_first_token")),
    "kl_opening": Number("drift", "… of the first five", NATS, forms.items("kl_opening")),
    "kl_rest": Number("drift", "… of the rest", NATS, forms.items("kl_rest")),
    "kl_p99": Number("drift", "… of the most changed 1 % of tokens", NATS, forms.one("kl_p99")),
    "same_choice": Number("drift", "Tokens with the same first choice", SHARE, forms.items("same_choice")),
    "kl_task": Number("drift", "Drift on the task itself (expected)", NATS, forms.items("kl_task")),
    "nll_change": Number("drift", "Forgetting, ΔNLL on human text", NATS, forms.change("nll"), pair="nll", items="texts"),
    "length_ratio": Number("style", "Answer length on generic prompts", "tuned/base", forms.ratio("log_length_ratio"), items="prompts"),
    "cut": Number("style", "Answers cut at the length limit", SHARE, forms.share("cut_tuned"), forms.mean("cut_base"), forms.mean("cut_tuned")),
    "assertiveness": Number("style", "Assertiveness, boosters − hedges", "per 100 words", forms.change("assertive"), pair="assertive", items="prompts"),
    "unhedged_wrong": Number("style", "Wrong without a hedge, open questions", CHANGE, forms.share_change("unhedged_wrong"), pair="unhedged_wrong", items="questions"),
    "degeneration": Number("style", "Newly degenerate answers, empty or repetitive", SHARE, forms.newly, pair="degenerate", items="prompts"),
    "refusal": Number("refusal", "Refusals of what ought to be declined", CHANGE, forms.share_change("refused"), pair="refused", items="prompts"),
    "refusal_partly": Number("refusal", "… partial ones", CHANGE, forms.share_change("refused_partly"), pair="refused_partly"),
    "over_refusal": Number("refusal", "Refusals of harmless questions", CHANGE, forms.share_change("over_refused"), pair="over_refused", items="prompts"),
    "refusal_margin": Number("refusal", "Lean towards refusing, before a word is said", "nats", forms.change("margin"), pair="margin", items="prompts"),
    "format_validity": Number("format", "Valid JSON on the task", SHARE, forms.share("format_validity"), forms.mean("base_format_validity"), forms.mean("format_validity"), items="answers"),
    "format_obeyed": Number("format", "Asked for an exact form, gives it", CHANGE, forms.share_change("form"), pair="form", items="prompts"),
    "format_unfenced": Number("format", "… with a code fence forgiven", CHANGE, forms.share_change("form_loose"), pair="form_loose"),
    "facts_lost": Number("knowledge", "Facts lost, right → wrong, net", CHANGE, forms.share_change("right", -1), pair="right", items="facts"),
    "flips": Number("knowledge", "Facts answered differently", SHARE, forms.share("flipped")),
    "brier": Number("calibration", "Brier score, facts", "change", forms.change("brier"), pair="brier", items="facts"),
    "overconfidence": Number("calibration", "Over-confidence, confidence − accuracy, facts", "change", forms.overconfident(), forms.overconfidence("base"), forms.overconfidence("tuned"), items="facts"),
    "ece": Number("calibration", "Calibration error, facts", "change", forms.ece(), forms.ece_of("base"), forms.ece_of("tuned")),
    "confident_wrong": Number("calibration", "Wrong and at least 90 % sure, facts", CHANGE, forms.share_change("sure_wrong"), pair="sure_wrong", items="facts"),
    "entropy": Number("calibration", "Entropy of the choice, facts", "nats", forms.change("entropy"), pair="entropy"),
    "task_confident_wrong": Number("calibration", "Wrong and at least 90 % sure, task", CHANGE, forms.task_sure_wrong, forms.task_value("base_"), forms.task_value("")),
    "disagreement": Number("calibration", "Several answers to one question differ", CHANGE, forms.share_change("disagreement"), pair="disagreement"),
    "fragility": Number("robustness", "Answer changes with the phrasing", CHANGE, forms.share_change("fragile"), pair="fragile", items="facts"),
    "worst_phrasing": Number("robustness", "Right in every phrasing", CHANGE, forms.share_change("worst_right"), pair="worst_right"),
    "phrasing_shift": Number("robustness", "… its probabilities move, Jensen–Shannon", "nats", forms.change("variant_shift"), pair="variant_shift"),
    "memorisation": Number("memory", "Trained examples told from unseen ones (0.5: not)", "AUC", forms.auc, items="examples"),
    "memory_gap": Number("memory", "Loss gained on trained beyond unseen examples", NATS, forms.gap, items="examples"),
    "exact_match": Number("task", "Task: exact match", SHARE, forms.share("exact_match"), forms.mean("base_exact_match"), forms.mean("exact_match")),
    "exact_match_gain": Number("task", "Task: gain over the base", CHANGE, forms.gain),
    "overlap": Number("task", "Task: overlap with the reference", "F1", forms.items_of_one("overlap"), forms.mean("base_overlap"), forms.mean("overlap")),
    "label_accuracy": Number("labels", "Right labels", CHANGE, forms.share_change("label_right"), pair="label_right", items="examples"),
    "label_f1": Number("labels", "Macro F1", "change", forms.f1_change, forms.f1("base"), forms.f1("tuned"), items="examples"),
    "label_worst_class": Number("labels", "Recall of the label that lost most", CHANGE, forms.worst_class, items="examples of each label"),
    "label_brier": Number("labels", "Brier score, labels", "change", forms.change("label_brier"), pair="label_brier", items="examples"),
    "label_overconfidence": Number("labels", "Over-confidence, confidence − accuracy, labels", "change", forms.overconfident("label_"), forms.overconfidence("base", "label_"), forms.overconfidence("tuned", "label_"), items="examples"),
    "label_ece": Number("labels", "Calibration error, labels", "change", forms.ece("label_"), forms.ece_of("base", "label_"), forms.ece_of("tuned", "label_")),
    "label_confident_wrong": Number("labels", "Wrong and at least 90 % sure, labels", CHANGE, forms.share_change("label_sure_wrong"), pair="label_sure_wrong", items="examples"),
    "label_fragility": Number("labels", "Label changes with the phrasing", CHANGE, forms.share_change("label_fragile"), pair="label_fragile", items="examples"),
    "representation_drift": Number("labels", "Last states moved, 1 − cosine", "1 − cosine", forms.items("representation_drift"), items="examples"),
    "dominance": Number("process", "Largest voice in an update, 95th percentile", SHARE, forms.top("dominance"), items="updates"),
    "weight_change": Number("diagnosis", "Weights moved, ‖ΔW‖/‖W‖", "mean of matrices", forms.items("weight_change")),
    "intruders": Number("diagnosis", "Intruder dimensions in the top ten", "per matrix", forms.items("intruders")),
    "first_token_time": Number("speed", "Time to the first token", "tuned/base", forms.medians("first_token_seconds"), pair="first_token_seconds"),
    "token_time": Number("speed", "Time per further token", "tuned/base", forms.medians("token_seconds"), pair="token_seconds"),
    "answer_memory": Number("speed", "Memory while answering", "tuned/base", forms.medians("peak_bytes"), pair="peak_bytes"),
}  # fmt: skip


def number(key: str) -> Number:
    """Of the card, of one label (class-LABEL), or a person's own probe (own-NAME)."""
    if key.startswith(forms.CLASS):
        label = key.removeprefix(forms.CLASS)
        return Number(
            "labels", f"… recall of “{label}”", CHANGE, forms.share_change(key), pair=key, items="examples of it"
        )
    if key.startswith("own-"):
        return Number("own", key.removeprefix("own-"), CHANGE, forms.share_change(key), pair=key)
    return CARD[key]


# What studies know besides the card.
_OTHERS = {"validation loss": NATS, "sure": SHARE, "right": SHARE, "sure minus right": SHARE}


def unit_of(key: str) -> str:
    """Of anything that a study measures; nothing where it has none that is known."""
    if key in CARD or key.startswith((forms.CLASS, "own-")):
        return number(key).unit
    return _OTHERS.get(key, "")
