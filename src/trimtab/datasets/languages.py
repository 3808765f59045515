"""Which languages texts are in. Takes texts, gives shares by ISO code, from a sample. No network."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

SAMPLE = 300
LEAST = 0.05  # of the sample: below it, short texts are more likely told wrongly


def shares(texts: Sequence[str], progress: Callable[[str, int, int], None] | None = None) -> dict[str, float]:
    """The commonest first; texts without words (zxx) are left out, what is rarer than 5 % too."""
    from py3langid import classify

    # drawn, not evenly spaced: a file may take turns between its languages
    some = random.Random(0).sample(list(texts), SAMPLE) if len(texts) > SAMPLE else texts
    counts: Counter[str] = Counter()
    for i, text in enumerate(some):
        counts[classify(text[:1000])[0]] += 1
        if progress and i % 50 == 49:
            progress("Telling languages", i + 1, len(some))
    counts.pop("zxx", None)
    total = sum(counts.values())
    return {code: n / total for code, n in counts.most_common() if n / total >= LEAST}
