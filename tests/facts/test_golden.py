"""Twenty situations and their plans, as reviewed pages: a change of a rule shows up as a diff of golden/.

Memory by closed form, so that the pages are the same everywhere. `TRIMTAB_GOLDEN=write pytest
tests/advice/test_golden.py` rewrites them.
"""

import os
from pathlib import Path

import pytest
import yaml

from trimtab.api import plan
from trimtab.errors import PlanError

GOLDEN = Path(__file__).parent / "golden"
SITUATIONS = {
    "01-smollm2-135m-lora-8gb": {
        "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "data": "sketch:1000x512",
        "gpu": "8GB",
    },
    "02-smollm2-135m-full-8gb": {
        "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "data": "sketch:20000x512",
        "gpu": "8GB",
        "method": "full",
    },
    "03-smollm2-1.7b-lora-16gb": {
        "model": "HuggingFaceTB/SmolLM2-1.7B-Instruct",
        "data": "sketch:5000x1024",
        "gpu": "16GB",
    },
    "04-qwen2.5-0.5b-full-16gb": {
        "model": "Qwen/Qwen2.5-0.5B-Instruct",
        "data": "sketch:10000x1024",
        "gpu": "16GB",
        "method": "full",
    },
    "05-llama-3.2-1b-lora-t4": {"model": "meta-llama/Llama-3.2-1B-Instruct", "data": "sketch:2000x1024", "gpu": "T4"},
    "06-llama-3.2-3b-lora-12gb": {
        "model": "meta-llama/Llama-3.2-3B-Instruct",
        "data": "sketch:5000x2048",
        "gpu": "12GB",
    },
    "07-qwen2.5-7b-auto-8gb": {"model": "Qwen/Qwen2.5-7B-Instruct", "data": "sketch:3000x2048", "gpu": "8GB"},
    "08-qwen2.5-7b-auto-16gb": {"model": "Qwen/Qwen2.5-7B-Instruct", "data": "sketch:5000x2048", "gpu": "16GB"},
    "09-qwen2.5-7b-auto-4090": {"model": "Qwen/Qwen2.5-7B-Instruct", "data": "sketch:5000x4096", "gpu": "RTX 4090"},
    "10-qwen2.5-7b-tight-48gb": {
        "model": "Qwen/Qwen2.5-7B-Instruct",
        "data": "sketch:50000x4096",
        "gpu": "48GB",
        "risk": "tight",
    },
    "11-qwen2.5-7b-full-80gb": {
        "model": "Qwen/Qwen2.5-7B-Instruct",
        "data": "sketch:50000x2048",
        "gpu": "A100 80GB",
        "method": "full",
    },
    "12-qwen2.5-7b-full-4x80gb": {
        "model": "Qwen/Qwen2.5-7B-Instruct",
        "data": "sketch:50000x4096",
        "gpu": "4x80GB",
        "method": "full",
    },
    "13-llama-3.1-8b-lora-h100": {
        "model": "meta-llama/Llama-3.1-8B-Instruct",
        "data": "sketch:200000x4096",
        "gpu": "H100",
    },
    "14-llama-3.1-8b-base-own-rate": {
        "model": "meta-llama/Llama-3.1-8B",
        "data": "sketch:1000x2048",
        "gpu": "24GB",
        "own": [
            "learning_rate=1e-3",
            "num_train_epochs=10",
            "per_device_train_batch_size=1",
            "gradient_accumulation_steps=4",
        ],
    },
    "15-mistral-7b-qlora-16gb": {
        "model": "mistralai/Mistral-7B-Instruct-v0.3",
        "data": "sketch:10000x8192",
        "gpu": "16GB",
        "method": "qlora",
    },
    "16-qwen2.5-14b-complex-24gb": {
        "model": "Qwen/Qwen2.5-14B-Instruct",
        "data": "sketch:5000x2048",
        "gpu": "24GB",
        "task": "complex",
    },
    "17-qwen2.5-32b-auto-24gb": {"model": "Qwen/Qwen2.5-32B-Instruct", "data": "sketch:5000x4096", "gpu": "24GB"},
    "18-llama-3.1-70b-2x80gb": {
        "model": "meta-llama/Llama-3.1-70B-Instruct",
        "data": "sketch:20000x4096",
        "gpu": "2x80GB",
    },
    "19-llama-3.1-70b-full-24gb": {
        "model": "meta-llama/Llama-3.1-70B-Instruct",
        "data": "sketch:20000x4096",
        "gpu": "24GB",
        "method": "full",
    },
    "20-smollm2-135m-tiny-data": {
        "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "data": "sketch:40x256",
        "gpu": "8GB",
    },
    "21-bert-classification-8gb": {
        "model": "google-bert/bert-base-uncased",
        "data": "sketch:3000x256",
        "gpu": "8GB",
        "task": "classification",
    },
    "22-llama-3.1-8b-dpo-48gb": {
        "model": "meta-llama/Llama-3.1-8B-Instruct",
        "data": "sketch:10000x2048",
        "gpu": "48GB",
        "task": "dpo",
    },
}


def planned(asked):
    """What a reviewer looks at: values, memory, warnings, risks, next runs."""
    asked = dict(asked)
    try:
        found = plan.plan(asked.pop("model"), asked.pop("data"), **asked, instant=True, studies="nowhere")
    except PlanError as error:
        return {"error": str(error)}
    f = found["forecast"]
    return {
        "settings": {r["setting"]: r["value"] for r in found["settings"]},
        "learning_rate": {r["setting"]: r for r in found["settings"]}["learning_rate"]["reason"],
        "memory": f"{f['memory']['used'] / 2**30:.1f} GiB of {f['device']['memory'] / 2**30:.1f}: {f['fit']}",
        "warnings": found["warnings"],
        "risks": [c["id"] for c in found["couplings"]],
        "next": [{**e["changes"], "steps": e["steps"]} for e in found["experiments"]],
    }


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_plan_is_the_reviewed_one(name):
    path = GOLDEN / f"{name}.yaml"
    found = {"asked": SITUATIONS[name], "plan": planned(SITUATIONS[name])}
    text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=110)
    if os.environ.get("TRIMTAB_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_every_golden_plan_fits_or_says_why_none_does():
    for name in SITUATIONS:
        page = yaml.safe_load((GOLDEN / f"{name}.yaml").read_text(encoding="utf-8"))["plan"]
        assert page.get("error") or page["memory"].endswith(": fits"), name
