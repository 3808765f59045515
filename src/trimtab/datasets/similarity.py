"""What kind of data a study was made on, small enough to keep with it; and how different other data are.

Takes examples, gives a plain fingerprint: lengths, labels, languages, format mix, and hashed words of a sample (no
text can be read back from it). Two fingerprints give distances, a level and what that does to trust. Levels:
BEHAVIOUR studies of two-sample tests, AUC above 0.60 note, 0.75 warn, 0.90 another task; a share of 10 to 20 % of
other data is not found by it.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from trimtab.datasets import languages
from trimtab.datasets.formats import Example
from trimtab.datasets.survey import answers_of

SAMPLE = 400
BUCKETS = 2**16
WORDS = 200  # of one example
PERMUTATIONS = 20
LEVELS = ((0.90, "different task"), (0.75, "warn"), (0.60, "note"))
TRUST = {
    "same": "results carry over",
    "too few to tell": "nothing can be said from so few examples",
    "note": "results carry over as a start; its band is wider",
    "warn": "take the scale of its settings, and scan the rate again",
    "different task": "its settings say nothing about these data: plan anew",
}
_FORMATS = {
    "json": r"\s*[\[{]",
    "code": r".*```",
    "list": r"(?s).*^\s*(?:[-*•]|\d+[.)])\s",
    "question": r"(?s).*[?？]\s*$",
    "link": r"(?s).*https?://",
    "formula": r"(?s).*(?:\$[^$]+\$|\\\()",
}


def profile(examples: Sequence[Example], duplicates: float | None = None) -> dict[str, Any]:
    """A few tens of kilobytes of JSON values."""
    step = max(1, len(examples) // SAMPLE)
    some = list(examples[::step][:SAMPLE])
    answers = answers_of(examples)
    return {
        "examples": len(examples),
        "duplicates": duplicates,
        "prompt_letters": [sum(len(m["content"]) for m in e.prompt) for e in some],
        "answer_letters": [len(e.answer) for e in some],
        "labels": dict(answers["top"]) if answers["labels"] else None,
        "languages": languages.shares([e.text for e in some]),
        "formats": _formats(some),
        "words": _pack([_hashed(e.text) for e in some]),
        "ids": [hashlib.sha256(e.text.encode()).hexdigest()[:12] for e in some],
    }


FEWEST = 20  # examples on either side, below which nothing can be told


def difference(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Distances between two fingerprints, the level (same, note, warn, different task) and what it means for trust."""
    known = set(a["ids"])
    keep = [i for i, name in enumerate(b["ids"]) if name not in known]
    shared = 1 - len(keep) / len(b["ids"])
    words_a, words_b = _unpack(a["words"]), _unpack(b["words"])
    auc, p = _two_samples(words_a, [words_b[i] for i in keep]) if shared < 0.9 else (0.5, 1.0)
    few = min(len(words_a), len(keep) or len(words_b)) < FEWEST
    level = "too few to tell" if few else next((word for bound, word in LEVELS if auc > bound and p <= 0.05), "same")
    return {
        "auc": auc,
        "p": p,
        "level": level,
        "trust": TRUST[level],
        "shared": shared,
        "prompt_length": _ks(a["prompt_letters"], b["prompt_letters"]),
        "answer_length": _ks(a["answer_letters"], b["answer_letters"]),
        "vocabulary": _js(Counter(w for row in words_a for w in row), Counter(w for row in words_b for w in row)),
        "labels": _js(a["labels"], b["labels"]) if a["labels"] and b["labels"] else None,
        "languages": _js(a["languages"], b["languages"]),
        "formats": max((abs(a["formats"][k] - b["formats"][k]) for k in _FORMATS), default=0.0),
    }


def _formats(some: Sequence[Example]) -> dict[str, float]:
    texts = [e.answer[:2000] for e in some]
    shares = {
        name: sum(bool(re.match(pattern, t, re.S | re.M)) for t in texts) / len(texts)
        for name, pattern in _FORMATS.items()
    }
    return shares | {"turns": sum(len(e.messages) for e in some) / len(some)}


def _hashed(text: str) -> list[int]:
    """Buckets of the words and pairs of words (characters where there are no spaces). The hash is part of what stores
    hold: another (scikit-learn's HashingVectorizer) would make every earlier study another kind of data."""
    words = re.findall(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+|[^\w\s]", text.lower())[:WORDS]
    grams = words + [f"{a} {b}" for a, b in pairwise(words)]
    return sorted({zlib.crc32(g.encode()) % BUCKETS for g in grams})


def _pack(rows: Sequence[Sequence[int]]) -> dict[str, str]:
    flat = np.asarray([w for row in rows for w in row], dtype=np.uint16)
    sizes = np.asarray([len(r) for r in rows], dtype=np.uint16)
    return {"flat": _text(flat), "sizes": _text(sizes)}


def _text(values: np.ndarray) -> str:
    return base64.b85encode(zlib.compress(values.tobytes(), 9)).decode()


def _unpack(packed: dict[str, str]) -> list[list[int]]:
    flat, sizes = (
        np.frombuffer(zlib.decompress(base64.b85decode(packed[k])), dtype=np.uint16) for k in ("flat", "sizes")
    )
    return [part.tolist() for part in np.split(flat, np.cumsum(sizes.astype(int))[:-1])]


def _two_samples(a: list[list[int]], b: list[list[int]]) -> tuple[float, float]:
    """(AUC of telling the two apart, held out in 5 folds; p against shuffled labels): logistic regression on TF-IDF."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfTransformer

    if min(len(a), len(b)) < 10:
        return 0.5, 1.0
    size = min(len(a), len(b))
    rows = a[:size] + b[:size]
    indptr = np.cumsum([0, *(len(r) for r in rows)])
    flat = np.asarray([w for r in rows for w in r], dtype=np.int64)
    x = TfidfTransformer().fit_transform(csr_matrix((np.ones(len(flat)), flat, indptr), shape=(len(rows), BUCKETS)))
    y = np.repeat([0, 1], size)
    auc, rng = _auc(x, y), np.random.default_rng(0)
    if auc <= LEVELS[-1][0]:  # no level depends on p then
        return auc, 1.0
    chance = [_auc(x, rng.permutation(y)) for _ in range(PERMUTATIONS)]
    return auc, (1 + sum(c >= auc for c in chance)) / (1 + PERMUTATIONS)


def _auc(x: Any, y: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    model = LogisticRegression(solver="liblinear")
    return float(roc_auc_score(y, cross_val_predict(model, x, y, cv=folds, method="decision_function")))


def _ks(a: Sequence[float], b: Sequence[float]) -> float:
    """Largest gap between the two cumulative shares, 0 to 1."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(a, b, method="asymp").statistic)


def jensen_shannon(p: Sequence[float], q: Sequence[float]) -> float:
    """Divergence of two distributions, nats (at most ln 2). Not scipy's distance, squared: of two that rounding alone
    tells apart that is not a number."""
    from scipy.special import rel_entr

    middle = (np.asarray(p) + np.asarray(q)) / 2
    return float(np.maximum((rel_entr(p, middle) + rel_entr(q, middle)).sum() / 2, 0.0))


def _js(a: Any, b: Any) -> float:
    """Jensen-Shannon divergence of counts in bits, 0 to 1."""
    if not sum(a.values()) or not sum(b.values()):
        return 0.0  # nothing is known of one side
    keys = sorted(set(a) | set(b))
    p, q = ([side.get(k, 0) / sum(side.values()) for k in keys] for side in (a, b))
    return jensen_shannon(p, q) / math.log(2)
