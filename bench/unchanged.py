"""Whether a rearrangement changed what is computed: plans, forecasts, runs, a study and a card, recorded before and
compared after.

`python bench/unchanged.py record FOLDER [--source DIR]` runs everything through the command line of the checkout at
DIR (default: this one) on one core, so that two records of one machine are equal bit for bit; `python
bench/unchanged.py compare A B` prints every value that differs. Names that a rearrangement changed on purpose are
told apart with `--renamed old=new`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
FORECASTS = (
    "--model Qwen/Qwen2.5-7B-Instruct --method lora --cutoff 1024 --gpu 24GB",
    "--model Qwen/Qwen2.5-7B-Instruct --method qlora --cutoff 2048 --gpu 16GB",
    "--model Qwen/Qwen2.5-0.5B-Instruct --method full --cutoff 512 --gpu 24GB optim=adamw_torch",
    "--model meta-llama/Llama-3.2-1B-Instruct --method lora --cutoff 1024 --gpu 8GB use_liger_kernel=true",
    "--model HuggingFaceTB/SmolLM2-135M-Instruct --method lora --cutoff 256 --gpu 8GB trainer=trimtab",
    "--model HuggingFaceTB/SmolLM2-135M-Instruct --method full --cutoff 256 --gpu 8GB trainer=trimtab dtype=float32",
    "--model google-bert/bert-base-uncased --method full --cutoff 128 --gpu 8GB",
    "--model meta-llama/Llama-3.1-8B-Instruct --method lora --cutoff 4096 --gpu 2x80GB --instant",
    "--model Qwen/Qwen2.5-14B-Instruct --method qlora --cutoff 2048 --gpu 24GB --instant",
    "--model mistralai/Mistral-7B-Instruct-v0.3 --method lora --cutoff 2048 --gpu A100 --instant",
)
BASE = "model: bundled:tiny\ndata: bundled:home-commands\nmax_length: 96\nbf16: false\nlearning_rate: 3e-3\n"
RUNS = {
    "lora": "r: 4\nlora_dropout: 0.1\nmax_steps: 12\nper_device_train_batch_size: 4\n",
    "accumulated": (
        "r: 8\nmax_steps: 8\nper_device_train_batch_size: 2\ngradient_accumulation_steps: 3\noptim: sgd\nweight_decay:"
        " 0.1\n"
    ),
    "full": (
        "method: full\nmax_steps: 8\nper_device_train_batch_size: 4\nlr_scheduler_type:"
        " warmup_stable_decay\nweight_decay: 0.01\n"
    ),
}
# What a clock, a folder or a library's version decides, which no rearrangement can keep.
PASSING = {
    "seconds",
    "created",
    "report",
    "page",
    "out",
    "machine",
    "versions",
    "command",
    "time",
    "duration",
    "owner",
    "per_token",
    "weights",
    "tokens_per_second",
    "link_time",
    "data_fingerprint",
    "taken",
}
TIMED = ("first_token_time", "token_time", "answer_memory")  # rows of a card that are clocks


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    verbs = asked.add_subparsers(dest="verb", required=True)
    make = verbs.add_parser("record")
    make.add_argument("folder", type=Path)
    make.add_argument("--source", type=Path, default=ROOT)
    against = verbs.add_parser("compare")
    against.add_argument("before", type=Path)
    against.add_argument("after", type=Path)
    against.add_argument("--renamed", action="append", default=[])
    given = asked.parse_args()
    if given.verb == "record":
        return record(given.folder, given.source)
    names = dict(pair.split("=", 1) for pair in given.renamed)
    differing = list(
        compare(*(json.loads((f / "record.json").read_text()) for f in (given.before, given.after)), names)
    )
    print("\n".join(differing) or "equal bit for bit")
    sys.exit(bool(differing))


def record(folder: Path, source: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)

    def trimtab(*args: Any) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "trimtab", *map(str, args)], cwd=folder, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(source / "src"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
            preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
        )  # fmt: skip
        return json.loads(done.stdout) if done.returncode == 0 and "--json" in args else done.stdout + done.stderr

    found: dict[str, Any] = {
        "plans": dict(_plans(trimtab)),
        "forecasts": {f: trimtab("forecast", *f.split(), "--json") for f in FORECASTS},
    }
    found["runs"] = {name: _run(trimtab, folder, name, text) for name, text in RUNS.items()}
    (folder / "base.yaml").write_text(BASE + RUNS["lora"])
    scan = ("study", "scan", "base.yaml", "learning_rate=1e-3,1e-2", "--seeds", 2, "--out", "study", "--json")
    found["study"] = trimtab(*scan)
    found["report"] = trimtab("report", "--out", "study", "--json")
    found["attribute"] = trimtab("attribute", "--out", "study", "--json")
    found["card"] = trimtab("card", found["runs"]["lora"]["id"], "--level", "card", "--out", "runs", "--json")
    (folder / "record.json").write_text(json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False))
    print(
        f"{folder / 'record.json'}: sha256"
        f" {hashlib.sha256(json.dumps(clean(found), sort_keys=True).encode()).hexdigest()[:16]}"
    )


def _plans(trimtab: Any) -> Any:
    """The reviewed situations of the tests, as the command line answers them."""
    from tests.facts.test_golden import SITUATIONS

    for name, asked in SITUATIONS.items():
        asked = dict(asked)
        model, data, own = asked.pop("model"), asked.pop("data"), asked.pop("own", [])
        options = [x for k, v in asked.items() for x in (f"--{k}", v)]
        yield name, trimtab("plan", model, data, *own, *options, "--instant", "--json")


def _run(trimtab: Any, folder: Path, name: str, text: str) -> dict[str, Any]:
    (folder / f"{name}.yaml").write_text(BASE + text)
    told = trimtab("train", f"{name}.yaml", "--certify", "--out", "runs", "--json")
    with sqlite3.connect(folder / "runs" / "trimtab.db") as store:
        steps = store.execute(
            "select step, loss, learning_rate, grad_norm from steps where run = ? order by step", [told["run"]]
        ).fetchall()
        items = store.execute(
            "select step, items from evaluations where run = ? order by step", [told["run"]]
        ).fetchall()
    weights = sorted((folder / "runs" / "runs" / told["run"] / "best").glob("*.safetensors"))
    return {"id": told["run"], "steps": steps, "items": [(s, json.loads(i)) for s, i in items],
            "weights": [hashlib.sha256(w.read_bytes()).hexdigest() for w in weights]}  # fmt: skip


def clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: clean(v) for k, v in value.items() if k not in PASSING}
    if isinstance(value, list):
        return [clean(v) for v in value if not (isinstance(v, dict) and v.get("number") in TIMED)]
    return value


def compare(before: Any, after: Any, renamed: dict[str, str]) -> Any:
    yield from _differing(clean(before), clean(after), renamed, "")


def _differing(a: Any, b: Any, renamed: dict[str, str], at: str) -> Any:
    if isinstance(a, dict) and isinstance(b, dict):
        a = {renamed.get(k, k): v for k, v in a.items()}
        for key in sorted(a.keys() | b.keys()):
            if key not in a or key not in b:
                yield f"{at}.{key}: only {'before' if key in a else 'after'}"
            else:
                yield from _differing(a[key], b[key], renamed, f"{at}.{key}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from _differing(x, y, renamed, f"{at}[{i}]")
    elif a != b and renamed.get(str(a)) != b:
        yield f"{at}: {a!r} -> {b!r}"


if __name__ == "__main__":
    main()
