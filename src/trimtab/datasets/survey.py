"""The data report: what is in a data set before anything is trained on it. Takes DATA and maybe a tokenizer, gives
plain data.

Never refuses odd data, it describes them. Without a tokenizer lengths are estimated (estimate.py), and the report
says so.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from trimtab.datasets import languages
from trimtab.datasets.duplicates import near_duplicates, same
from trimtab.datasets.estimate import UNKNOWN, Estimate
from trimtab.datasets.formats import Example, to_examples
from trimtab.datasets.prepare import percentile, seen_pieces
from trimtab.datasets.read import read
from trimtab.datasets.tokens import lengths, tokenise

SHARES = (50, 90, 95, 99, 100)
CUTOFFS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384)
LABELS_AT_MOST = 50
LONGEST = 64  # examples, as many as a micro-batch ever holds
APART = 4  # times the 95th percentile: from here on the 99th belongs to the tail
SHORT = 256  # tokens: a tail up to here costs nothing
SHOWN = 3
BARS = 24
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Survey:
    """Plain data, ready to be shown. Lengths in tokens, shares of examples; copies, answers and lengths are of the
    training part."""

    name: str
    form: str
    examples: dict[str, int]
    dropped_empty: int
    exact_copies: int  # examples beyond the first of each kind
    near_copies: int
    largest_copy: dict[str, Any] | None
    leakage: dict[str, float]  # share of a given split that is a near copy of a training example
    answers: dict[str, Any]
    cut_answers: dict[str, Any]
    languages: dict[str, float]
    quantiles: dict[str, dict[str, int]]
    mean: dict[str, float]
    total: dict[str, int]
    histogram: dict[str, list[float]]
    cutoffs: list[dict[str, float]]
    longest: list[list[int]]  # [tokens, answer tokens] of the longest, the longest first
    mean_cut: list[list[float]]  # [cutoff, mean length when cut there], rising to the longest
    advice: list[str]
    first: list[list[tuple[str, bool]]]
    labels_longest: int  # most answer tokens among the longest 1 % of the examples
    estimated: bool

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @property
    def duplicate_share(self) -> float:
        """Examples beyond the first of each group of near copies, as a share."""
        return self.near_copies / max(1, self.examples["train"])


def survey(
    data: str,
    tokenizer: Any = None,
    say: Callable[[str], None] = print,
    progress: Progress | None = None,
    estimate: Estimate = UNKNOWN,
) -> Survey:
    """`estimate` guesses lengths where there is no tokenizer. Raises DataError only where nothing can be read."""
    source = read(data, say)
    parts: dict[str, list[Example]] = {}
    form, dropped = "", 0
    for name, rows in source.rows.items():
        if rows:
            form, parts[name], lost = to_examples(rows, source.name)
            dropped += lost
    return describe(source.name, form, parts, dropped, tokenizer, progress, estimate)


def describe(
    name: str,
    form: str,
    parts: dict[str, list[Example]],
    dropped: int,
    tokenizer: Any = None,
    progress: Progress | None = None,
    estimate: Estimate = UNKNOWN,
) -> Survey:
    """`parts` by split; "train" must be there."""
    train = parts["train"]
    counted = lengths(train, tokenizer, progress) if tokenizer else [estimate.lengths(e) for e in train]
    wholes = sorted(n for n, _ in counted)
    kinds = {"all": wholes, "answer": sorted(a for _, a in counted), "prompt": sorted(n - a for n, a in counted)}
    every = [(split, e) for split, found in parts.items() for e in found]
    clusters = near_duplicates([e.text for _, e in every], progress=progress)
    copies = [c for c in ([i for i in cluster if every[i][0] == "train"] for cluster in clusters) if len(c) > 1]
    biggest = max(copies, key=len, default=None)
    answers = answers_of(train)
    cutoffs = [_cutoff(value, counted) for value in _worth_showing(wholes)]
    cut, leakage = _cut_answers(train, counted), _leakage(every, clusters)
    return Survey(
        name=name,
        form=form,
        examples={s: len(found) for s, found in parts.items()},
        dropped_empty=dropped,
        exact_copies=len(train) - len(same([e.text for e in train])),
        near_copies=sum(len(c) - 1 for c in copies),
        largest_copy={"count": len(biggest), "text": every[biggest[0]][1].text[:160]} if biggest else None,
        leakage=leakage,
        answers=answers,
        cut_answers=cut,
        languages=languages.shares([e.text for e in train], progress),
        quantiles={k: {str(p): percentile(v, p) for p in SHARES} for k, v in kinds.items()},
        mean={k: sum(v) / len(v) for k, v in kinds.items()},
        total={k: sum(v) for k, v in kinds.items()},
        histogram=_histogram(kinds),
        cutoffs=cutoffs,
        longest=[list(pair) for pair in sorted(counted, reverse=True)[:LONGEST]],
        mean_cut=mean_cut(wholes),
        advice=[*_leaks(leakage), *_advice(wholes, counted, answers, cut)],
        estimated=tokenizer is None,
        first=_first(train, tokenizer),
        labels_longest=max(a for _, a in sorted(counted)[-max(1, len(counted) // 100) :]),
    )


def _first(train: Sequence[Example], tokenizer: Any) -> list[list[tuple[str, bool]]]:
    """The first examples as the model sees them, each piece with whether it is learned."""
    some = train[:SHOWN]
    if tokenizer:
        return [seen_pieces(t, tokenizer) for t in tokenise(some, tokenizer, 2**31)]
    return [[(m["content"], m["role"] == "assistant") for m in e.messages] for e in some]


def labels_of(train: Sequence[Example]) -> Counter[str] | None:
    """How often each label is the answer; None where the answers are no labels: one kind, more than 50, or fewer
    than five examples of a kind on average."""
    counts = Counter(e.answer.strip() for e in train)
    return counts if 1 < len(counts) <= LABELS_AT_MOST and len(train) >= 5 * len(counts) else None


def answers_of(train: Sequence[Example]) -> dict[str, Any]:
    """Few different answers are labels: their balance."""
    counts = Counter(e.answer.strip() for e in train)
    labels = labels_of(train) is not None
    commonest = counts.most_common(8)
    top = [[text[:60], n / len(train)] for text, n in commonest]
    asked = [e.prompt[-1]["content"].lower() for e in train]
    named = sum(all(text.lower() in prompt for text, _ in commonest) for prompt in asked) / len(train)
    return {
        "distinct": len(counts),
        "labels": labels,
        "top": top if labels or len(counts) == 1 else [],
        "named": named,  # share of the prompts in which the commonest stand
    }


def _cut_answers(train: Sequence[Example], counted: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Answers that stop in the middle, and a length that many share because something cut them there."""
    ended = [e.answer.rstrip()[-1:] in ".!?…。！？)\"'”»`}]>*|:" for e in train]
    usual = sum(ended) / len(train) > 0.8
    cut = [
        i for i, e in enumerate(train)
        if e.answer.count("```") % 2 or _open_json(e.answer) or (usual and not ended[i] and len(e.answer) > 200)
    ]  # fmt: skip
    return {"share": len(cut) / len(train), "first": cut[:3], "ceiling": _ceiling_of(sorted(n for n, _ in counted))}


def _ceiling_of(wholes: Sequence[int]) -> int | None:
    """The longest length, where far more examples have it than the lengths just below: something cut them there."""
    most = wholes[-1]
    at = sum(n >= most - 1 for n in wholes)
    below = sum(most - 22 <= n < most - 1 for n in wholes) / 10  # of any two lengths
    spread = most > 1.5 * wholes[len(wholes) // 2]
    return most if spread and at >= max(5, 0.01 * len(wholes)) and at > 5 * below else None


def _open_json(text: str) -> bool:
    text = text.strip()
    if text[:1] not in "{[" or len(text) < 2:
        return False
    try:
        json.loads(text)
    except ValueError as error:
        return "Unterminated" in str(error) or getattr(error, "pos", 0) >= len(text) - 1
    return False


def _leakage(every: Sequence[tuple[str, Example]], clusters: Sequence[Sequence[int]]) -> dict[str, float]:
    splits = Counter(split for split, _ in every)
    leaked: Counter[str] = Counter()
    for cluster in clusters:
        kinds = Counter(every[i][0] for i in cluster)
        if kinds["train"]:
            leaked.update({s: n for s, n in kinds.items() if s != "train"})
    return {s: leaked[s] / n for s, n in splits.items() if s != "train"}


def _worth_showing(wholes: Sequence[int]) -> list[int]:
    """Cutoffs up to the first that nothing exceeds, and those that the advice names."""
    longest = wholes[-1]
    usual = [c for c in CUTOFFS if c < longest] + [next((c for c in CUTOFFS if c >= longest), longest)]
    named = {-(-n // 64) * 64 for n in (longest, body(list(wholes)))}
    return sorted({*usual, *(n for n in named if n <= usual[-1])})


def _cutoff(value: int, counted: Sequence[tuple[int, int]]) -> dict[str, float]:
    total = sum(n for n, _ in counted)
    return {
        "max_length": value,
        "cut_examples": sum(n > value for n, _ in counted) / len(counted),
        "cut_tokens": sum(max(0, n - value) for n, _ in counted) / max(1, total),
    }


def mean_cut(wholes: Sequence[int]) -> list[list[float]]:
    """[cutoff, mean length of the examples when cut there], at multiples of 64 that grow coarser, up to the
    longest."""
    places, cutoff = [], 64
    while cutoff < max(wholes):
        places.append(cutoff)
        cutoff += 64 * max(1, cutoff // 512)
    return [[float(c), sum(min(n, c) for n in wholes) / len(wholes)] for c in [*places, max(wholes)]]


def _histogram(kinds: dict[str, list[int]]) -> dict[str, list[float]]:
    """Shares of examples by length, on a scale that doubles every few bars; the last bar ends at the longest."""
    longest = max(kinds["all"][-1], 2)
    edges = sorted({round(longest ** (i / BARS)) for i in range(BARS + 1)} | {0})
    bars: dict[str, list[float]] = {"edges": [float(e) for e in edges]}
    for kind, values in kinds.items():
        counts = [0] * (len(edges) - 1)
        place = 0
        for v in values:
            while place < len(counts) - 1 and v > edges[place + 1]:
                place += 1
            counts[place] += 1
        bars[kind] = [c / len(values) for c in counts]
    return bars


def _leaks(leakage: dict[str, float]) -> list[str]:
    return [
        f"{share:.0%} of {split} are near copies of training examples: take them out of one of the two, or {split}"
        " measures memory"
        for split, share in leakage.items()
        if share > 0.01
    ]


def _advice(
    wholes: Sequence[int], counted: Sequence[tuple[int, int]], answers: dict[str, Any], cut: dict[str, Any]
) -> list[str]:
    return [a for a in (_tail(wholes, counted), _packing(wholes), _few(len(wholes)), _one(answers), _ceiling(cut)) if a]


def _tail(wholes: Sequence[int], counted: Sequence[tuple[int, int]]) -> str:
    """Cut, drop or split what is longer than nearly all."""
    nearly, longest = body(list(wholes)), wholes[-1]
    if longest <= 1.25 * nearly or longest <= SHORT:
        return f"no long tail: a cutoff of {-(-longest // 64) * 64} holds everything"
    nearly = -(-nearly // 64) * 64
    over = [(n, a) for n, a in counted if n > nearly]
    if not over:
        return f"no long tail: a cutoff of {nearly} holds everything"
    share = len(over) / len(counted)
    beyond = sum(n for n, _ in over) / len(over) / nearly
    prompts = sum(n - a >= nearly for n, a in over) / len(over)
    if prompts > 0.5:
        what = "drop them: their prompts alone fill the cutoff, so no answer would be left to learn"
    elif beyond > 2:
        what = "split them into several examples: cut, they would lose more than half of their text"
    else:
        what = "cut them: they lose little, from the answer's end"
    return (
        f"long tail: {share:.1%} of the examples are longer than {nearly:,} tokens (the longest has {longest:,});"
        f" {what}"
    )


def body(ordered: list[int]) -> int:
    """What nearly all fit: the 99th percentile; the 95th where the 99th is far beyond it and would set the memory of
    every run."""
    nearly, most = percentile(ordered, 95), percentile(ordered, 99)
    return nearly if most > APART * nearly else most


def _packing(wholes: Sequence[int]) -> str:
    cutoff, mean = body(list(wholes)), sum(wholes) / len(wholes)
    if mean / cutoff >= 0.5 or len(wholes) < 1000:
        return ""
    return (
        f"packing would fill rows that are {mean / cutoff:.0%} full at a cutoff of {cutoff:,}: worth it in trainers"
        " that pad to the cutoff; trimtab pads to the longest of a micro-batch only"
    )


def _few(n: int) -> str:
    return (
        f"{n} examples are few: below about 50 no advice is sure, examples in the prompt may do more" if n < 50 else ""
    )


def _one(answers: dict[str, Any]) -> str:
    return (
        "all answers are the same: there is nothing to learn but to say it always" if answers["distinct"] == 1 else ""
    )


def _ceiling(cut: dict[str, Any]) -> str:
    return f"many examples have exactly {cut['ceiling']:,} tokens: something cut them before" if cut["ceiling"] else ""
