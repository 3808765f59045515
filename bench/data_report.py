"""How long the data report takes on 100,000 examples. Usage: python bench/data_report.py [EXAMPLES]

Examples are the bundled prompts and answers, shuffled together to about 100 tokens each, so that words are real and
copies few. Prints one JSON line a repetition and the median; results go to bench/results/data-report.json.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from pathlib import Path

from trimtab.datasets.formats import Example
from trimtab.datasets.prepare import load
from trimtab.datasets.survey import describe
from trimtab.tasks.pretrained import load_tokenizer

REPEATS = 3


def examples(count: int) -> list[Example]:
    texts = [e for part in load("bundled:home-commands", say=lambda _: None).examples.values() for e in part]
    words = [w for e in texts for w in e.text.split()]
    rng = random.Random(0)
    return [
        Example(
            (
                {"role": "user", "content": " ".join(rng.choices(words, k=20))},
                {"role": "assistant", "content": " ".join(rng.choices(words, k=30))},
            )
        )
        for _ in range(count)
    ]


def main(count: int) -> None:
    tokenizer = load_tokenizer("bundled:smollm2", lambda _: None)
    rows, found = examples(count), []
    for _ in range(REPEATS):
        stages: dict[str, float] = {}
        last = began = time.perf_counter()

        def progress(stage: str, _done: int, _all: int) -> None:
            nonlocal last
            now = time.perf_counter()
            stages[stage] = stages.get(stage, 0.0) + now - last  # noqa: B023
            last = now

        seen = describe("bench", "messages", {"train": rows}, 0, tokenizer, progress)
        found.append(time.perf_counter() - began)
        print(
            json.dumps(
                {
                    "seconds": round(found[-1], 2),
                    "stages": {k: round(v, 2) for k, v in stages.items()},
                    "tokens": seen.total["all"],
                }
            )
        )
    result = {
        "examples": count,
        "tokens": seen.total["all"],
        "median_seconds": round(statistics.median(found), 2),
        "stages": {k: round(v, 2) for k, v in stages.items()},
    }
    print(json.dumps(result))
    (Path(__file__).parent / "results" / "data-report.json").write_text(
        json.dumps(result, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
