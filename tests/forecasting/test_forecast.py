"""From what a person types to a verdict: names, cards, errors, the instant form, solving, time, learning."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trimtab
from trimtab.api import forecast as verbs
from trimtab.errors import ForecastRefused, SpecError, TrimtabError
from trimtab.forecasting import calibrate, closed_form, inputs, sharding, solve
from trimtab.forecasting.duration import duration, unpacking
from trimtab.forecasting.forecast import forecast
from trimtab.forecasting.result import Fit, Memory, judge
from trimtab.planning.catalogue import Device, find_device, find_model, model_names
from trimtab.spec.workload import Workload

GIB = 2**30
QWEN = "Qwen/Qwen2.5-0.5B-Instruct"


def test_cards_as_people_type_them():
    assert find_device("24GB")[0].memory == find_device("24 GiB")[0].memory
    assert find_device("2x80GB")[1] == 2
    assert find_device("4 x A100 80GB")[0].memory > 78 * GIB
    assert (
        find_device("4090")[0].name == find_device("NVIDIA GeForce RTX 4090")[0].name == find_device("rtx-4090")[0].name
    )
    for wrong in ("24TB", "RTX 9090 Ultra", "0GB", "99999"):
        with pytest.raises(SpecError, match="--gpu"):
            find_device(wrong)


def test_the_catalogue_knows_published_sizes():
    assert len(model_names()) >= 60
    for name, parameters in {
        "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512, "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
        "mistralai/Mistral-7B-v0.1": 7_241_732_096, "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
    }.items():  # fmt: skip
        assert find_model(name).parameters == parameters


def test_an_unknown_model_names_the_nearest(tmp_path):
    with pytest.raises(TrimtabError, match=r"Qwen/Qwen2\.5-7B"):
        verbs.forecast(own={"model": "Qwen/Qwen2.5-7"}, gpu="24GB")
    with pytest.raises(TrimtabError, match=r"no config\.json"):
        verbs.forecast(own={"model": str(tmp_path)}, gpu="24GB")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "full", "load_in_4bit": True}, "4-bit weights cannot be trained in full"),
        ({"r": 1000}, "above the size of the smallest target"),
        ({"max_length": 10**6}, "positions"),
        ({"target_modules": ["nonsense"]}, "name no layer"),
        ({"layers_to_transform": [3, 30]}, "has layers 0 to 23"),
        ({"layers_to_transform": [3], "method": "full"}, "only an adapter has this"),
        ({"sharding": "zero2"}, "over 1 device"),
        ({"members": 3}, "trainer trimtab"),
        ({"method": "full", "dtype": "float16"}, "cannot be trained in full"),
        ({"rr": 3}, 'did you mean "r"'),
        ({"offload": True}, "offload needs"),
    ],
)
def test_what_cannot_be_is_one_sentence(given, said):
    with pytest.raises(SpecError, match=said):
        verbs.forecast(own={"model": QWEN, **given}, gpu="24GB")


def test_named_cards_do_not_change_what_a_file_says(tmp_path):
    file = tmp_path / "w.yaml"
    file.write_text(f"model: {QWEN}\nsharding: zero3\ndevices: 2\n")
    found = verbs.forecast(file, gpu="2x24GB", instant=True)
    assert found["workload"]["sharding"] == "zero3"
    with pytest.raises(SpecError, match="4 cards are named"):
        verbs.forecast(file, gpu="4x24GB")
    assert verbs.forecast(own={"model": QWEN}, gpu="2x24GB", instant=True)["workload"]["sharding"] == "ddp"


def own_folder(path, **changes):
    import json

    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "num_attention_heads": 4,
        "num_hidden_layers": 6,
        "intermediate_size": 128,
        "vocab_size": 512,
        "max_position_embeddings": 256,
        **changes,
    }
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    return str(path)


@pytest.mark.parametrize(
    ("changes", "own", "said"),
    [
        ({"hidden_size": "big"}, {}, "refused by transformers"),
        ({"num_attention_heads": 30}, {}, "refused by transformers|could not"),
        ({"num_key_value_heads": 1}, {"r": 32}, "at most 16"),
        ({"model_type": "nonsense"}, {}, "no architecture called"),
        ({"model_type": "resnet"}, {"method": "lora"}, "no linear layer"),
    ],
)
def test_odd_folders_are_one_sentence(tmp_path, changes, own, said):
    with pytest.raises(TrimtabError, match=said):
        verbs.forecast(own={"model": own_folder(tmp_path / "m", **changes), "max_length": 64, **own}, gpu="8GB")


@pytest.mark.parametrize("instant", [True, False])
def test_the_states_of_frozen_lower_layers_cost_memory_and_save_time_from_the_second_visit_on(tmp_path, instant):
    asked = {
        "model": own_folder(tmp_path / "m"), "max_length": 64, "r": 4, "trainer": "trimtab", "optim": "adamw_torch",
        "autocast": "no", "gradient_checkpointing": False, "layers_to_transform": [4, 5], "examples": 1000,
    }  # fmt: skip
    once, thrice, many = (
        verbs.forecast(own={**asked, **more}, gpu="8GB", instant=instant)
        for more in ({}, {"num_train_epochs": 3}, {"examples": 10**9})
    )
    assert once["memory"]["terms"]["kept states"] == 1000 * 64 * 64 * 2
    assert sum(once["memory"]["terms"].values()) == once["memory"]["allocated"]
    assert thrice["flops"] < once["flops"]
    assert "kept states" not in many["memory"]["terms"]  # they would take more than a quarter of what is free
    assert many["flops"] == once["flops"]


def test_an_own_folder_of_the_common_shape_has_a_closed_form(tmp_path):
    asked = {"model": own_folder(tmp_path / "m"), "max_length": 64, "r": 4}
    instant, traced = (verbs.forecast(own=asked, gpu="8GB", instant=i) for i in (True, False))
    assert instant["model"]["parameters"] == traced["model"]["parameters"]


def test_the_verdict_is_given_on_what_the_card_must_have():
    memory = Memory({"weights": 20 * GIB}, 20 * GIB, 22 * GIB, 21 * GIB, GIB)
    assert judge(memory, 26 * GIB) == Fit.FITS  # 23 and 12 %
    assert judge(memory, 24 * GIB) == judge(memory, 21 * GIB) == Fit.TIGHT
    assert judge(memory, 20 * GIB) == Fit.DOES_NOT


def test_a_traced_forecast_and_its_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path))
    asked = {"own": {"model": QWEN, "max_length": 256}, "gpu": "8GB"}
    said = []
    first = verbs.forecast(**asked, say=said.append)
    again = verbs.forecast(**asked, say=said.append)
    assert len(said) == 1
    assert first == again
    m = first["memory"]
    assert first["how"] == "traced"
    assert sum(m["terms"].values()) == m["allocated"] <= m["reserved"] < m["used"]
    assert first["model"]["parameters"] == 494_032_768
    assert first["fit"] == "fits"
    assert {"torch", "transformers", "peft"} <= first["versions"].keys()


@pytest.mark.parametrize("row", [0, 12, 20, 33], ids=lambda n: f"row {n}")
def test_it_says_what_a_card_took(row):
    """Measured on a H200 (bench/forecast_gpu.py): where what is cached is most."""
    kept = json.loads((Path(__file__).parents[2] / "bench/results/forecast-gpu.json").read_text())
    took = kept["rows"][row]["measured"]
    w = Workload.model_validate(kept["rows"][row]["workload"])
    memory = forecast(w, Device(kept["device"], 2**37)).memory
    assert memory.allocated == pytest.approx(took["allocated"], rel=0.01)
    assert memory.reserved == pytest.approx(took["reserved"], rel=0.02)


def test_packing_needs_a_mask_but_with_flash_attention():
    from trimtab.forecasting.forecast import completed
    from trimtab.forecasting.source import locate

    w = Workload(model=QWEN, packing=True)
    assert completed(w, locate(QWEN)).padded
    assert not completed(w.but(attn_implementation="flash_attention_2"), locate(QWEN)).padded


def test_what_cannot_be_traced_falls_back_and_says_so(monkeypatch):
    from trimtab.forecasting import forecast as room

    def refuse(*_):
        raise ForecastRefused("no")

    monkeypatch.setattr(room, "traced", refuse)
    found = forecast(Workload(model=QWEN), find_device("24GB")[0])
    assert found.how == "closed form"
    assert any("not traced: no" in n for n in found.notes)
    with pytest.raises(ForecastRefused):  # nothing to fall back on
        forecast(Workload(model="microsoft/resnet-18", method="full"), find_device("24GB")[0])


def test_the_instant_answer_loads_no_torch():
    code = (
        "import sys; from trimtab.spec.workload import Workload; from trimtab.forecasting.forecast import forecast;from"
        " trimtab.planning.catalogue import find_device; device = find_device('24GB')[0]; w ="
        " Workload(model='Qwen/Qwen2.5-7B');f = forecast(w, device, instant=True); print('torch' in sys.modules, f.how)"
    )
    torch, *how = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert (torch, how) == ("False", ["closed", "form"])


@given(st.sampled_from(["lora", "qlora", "full"]), st.integers(1, 8), st.sampled_from([128, 1024]), st.booleans())
def test_the_closed_form_grows_with_what_is_asked(method, micro, length, recompute):
    shape = closed_form.shape_of(find_model("Qwen/Qwen2.5-7B"))
    size = lambda **c: sum(closed_form.closed_form(shape, w.but(**c)).values())  # noqa: E731
    w = Workload(
        model="m", method=method, per_device_train_batch_size=micro, max_length=length, gradient_checkpointing=recompute
    )
    assert size(per_device_train_batch_size=micro + 1) >= size()
    assert size(max_length=2 * length) >= size()
    assert size(method="qlora") <= size(method="lora") <= size(method="full")
    assert size(gradient_checkpointing=True) <= size(gradient_checkpointing=False)


@given(st.integers(2, 64), st.sampled_from(["zero1", "zero2", "zero3", "fsdp"]))
def test_more_devices_never_need_more_each(devices, kind):
    terms = {"weights": 14 * GIB, "optimizer": 28 * GIB, "gradients": 14 * GIB, "activations": GIB}
    w = Workload(model="m", method="full", sharding=kind, devices=devices)
    each = lambda w: sum(sharding.shard(terms, w, sharding.Size(28, 7 * GIB, 7 * GIB, GIB)).values())  # noqa: E731
    assert each(w.but(devices=devices + 1)) <= each(w)
    assert each(w.but(offload=True)) <= each(w)


def test_solving_finds_the_border():
    device = find_device("16GB")[0]
    seen = []

    def look(w):
        seen.append(w)
        return forecast(w, device, instant=True)

    w = Workload(model="Qwen/Qwen2.5-1.5B", max_length=1024)
    found = solve.largest(w, "per_device_train_batch_size", look)
    assert found["at"]["fit"] == "fits"
    assert found["above"]["fit"] != "fits"
    assert found["above"]["workload"]["per_device_train_batch_size"] == found["value"] + 1
    assert len(seen) < 12
    assert solve.largest(w.but(model="Qwen/Qwen2.5-72B"), "max_length", look)["value"] is None
    rows = solve.cheaper(w.but(gradient_checkpointing=False), look)
    saved = {r["option"].split(" (")[0]: r["saved"] for r in rows}
    assert saved["gradient checkpointing"] > 0
    assert saved["QLoRA"] > 0


def test_time_comes_from_the_best_that_is_known():
    device, w = find_device("A100 80GB")[0], Workload(model="m", max_length=4096, examples=1000, num_train_epochs=2)
    sheet = duration(10**15, w, 7 * 10**9, device, {})
    assert sheet.low < sheet.step < sheet.high
    assert sheet.steps == 2000
    assert "data sheet" in sheet.basis
    probe = duration(10**15, w, 7 * 10**9, device, {"speed": {"bfloat16": 1e14}})
    assert "probe" in probe.basis
    runs = duration(10**15, w, 7 * 10**9, device, {"speed": {"bfloat16": 1e14}, "achieved": {"lora bfloat16": 5e13}})
    assert runs.step == 20
    assert duration(10**15, w, 10**9, Device("?", 1), {}) is None


def test_unpacking_four_bits_takes_what_published_pairs_took():
    """litgpt's LoRA and QLoRA of one model with one micro-batch, on an A10G: two thousand examples an epoch."""
    text = Path(trimtab.planning.__path__[0], "recipes.csv").read_text(encoding="utf-8")
    rows = [r for r in csv.DictReader(text.splitlines()) if "time=" in r["reported_metric"] and r["gpu"] == "1xA10G"]
    times = {(r["model"], r["micro_batch"], r["method"]): r for r in rows}
    device, compared = find_device("A10G")[0], 0
    for (model, micro, method), lora in times.items():
        quantised = times.get((model, micro, "qlora"))
        if method != "lora" or quantised is None:
            continue
        minutes = [float(re.search(r"time=([\d.]+)", r["reported_metric"])[1]) for r in (lora, quantised)]
        batches = 2000 * float(lora["epochs"]) / int(micro)
        w = Workload(model=model, method="qlora", per_device_train_batch_size=int(micro))
        took = (minutes[1] - minutes[0]) * 60 / batches
        assert 0.5 < took / unpacking(w, int(float(lora["params_b"]) * 1e9), device) < 2.1, model
        compared += 1
    assert compared >= 8
    assert unpacking(Workload(model="m", method="lora"), 10**9, device) == 0


def test_qlora_is_not_forecast_faster_than_lora():
    device, w = find_device("RTX 4090")[0], Workload(model="m", max_length=512, examples=1000)
    lora, qlora = (duration(10**13, w.but(method=m), 7 * 10**9, device, {}).step for m in ("lora", "qlora"))
    assert qlora > 1.1 * lora


def test_a_machine_learns_from_its_runs():
    rows = [
        {
            "run": f"r{i}",
            "predicted": {
                "device": "cuda",
                "kind": "lora bfloat16",
                "flops_per_size": 1e9,
                "reserved": 100,
                "allocated": 90,
            },
            "measured": {"size_per_second": 1000 + i, "reserved": 100 + i, "allocated": 90},
        }
        for i in range(12)
    ]
    found = calibrate.learned(rows, "cuda")
    assert found["achieved"]["lora bfloat16"] == pytest.approx(1e9 * 1005.5)
    assert found["margin"] == pytest.approx(0.11)
    assert calibrate.learned(rows, "cpu") == {}
    assert calibrate.learned(rows[:5], "cuda").get("margin") is None
    assert calibrate.residuals(rows)[0]["allocated"]["error"] == 0
    old = {**rows[0], "predicted": {**rows[0]["predicted"], "versions": {"torch": "2.4.1"}}}
    assert calibrate.residuals([old])[0]["other_versions"] == {"torch": "2.4.1"}


def test_a_recipe_is_forecast_with_its_own_lengths(recipe, tmp_path):
    from trimtab.spec.yaml_file import dump

    file = tmp_path / "r.yaml"
    file.write_text(dump(recipe))
    device = inputs.this_machine()
    w = inputs.workload(file, [], {}, device, 1)
    assert w.trainer == "trimtab"
    assert w.device == "cpu"
    assert 8 < w.max_length < 64
    assert w.mean_length <= w.max_length
    found = verbs.forecast(file, gpu=None)
    assert found["fit"] == "fits"


def test_a_recipe_that_stops_past_its_end_is_refused_before_it_is_forecast(tmp_path, small_file):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"model: bundled:tiny\ndata: {small_file}\nmax_steps: 40\nstop_at_step: 41\n")
    with pytest.raises(SpecError, match="stop_at_step 41 lies past its end: it has 40 steps"):
        verbs.forecast(recipe, gpu="8GB", instant=True)
    recipe.write_text(f"model: bundled:tiny\ndata: {small_file}\nstop_at_step: 9999\n")
    with pytest.raises(SpecError, match="stop_at_step 9999 lies past its end"):
        verbs.forecast(recipe, gpu="8GB", instant=True)
