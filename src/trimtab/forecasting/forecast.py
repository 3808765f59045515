"""The forecast: where to look, what to check, trace or closed form, verdict and time. Takes a workload and a card.

Torch is loaded only when a trace is really made; a cached or instant answer never waits for it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from trimtab.errors import ForecastRefused, SpecError
from trimtab.forecasting import cache, closed_form, sharding
from trimtab.forecasting.allocator import WORKSPACES
from trimtab.forecasting.duration import computed_in, duration, of_a_step
from trimtab.forecasting.result import CONTEXT, KEPT_STATES, MARGIN, Forecast, Memory, judge
from trimtab.forecasting.source import ModelSource, locate
from trimtab.planning.catalogue import Device
from trimtab.spec.workload import STATES_ROOM, Workload

Say = Callable[[str], None]
HOPPER = ("H100", "H200", "H800", "H20", "GH200", "B200")


def forecast(
    w: Workload,
    device: Device | None = None,
    instant: bool = False,
    known: Mapping[str, Any] | None = None,
    say: Say = lambda _: None,
) -> Forecast:
    """`known` is what this machine has learned: context, workspace, speed, achieved, margin (calibrate.py)."""
    known = known or {}
    source = locate(w.model, say)
    w = completed(w, source)
    check_fits_model(w, source)
    notes = _notes(w, source, instant)
    trace: dict[str, Any] | None = None
    how, sure = "closed form", "good to some 5 to 20 %"
    if not instant:
        try:
            trace = traced(w, source, say)
            how, sure = "traced", _sure(trace, w)
            if trace["attention"] != w.attn_implementation:
                notes.append(
                    f"{source.family} has no {w.attn_implementation} attention here: traced with {trace['attention']}"
                )
        except ForecastRefused as refused:
            if source.known is None or not source.known.linears:
                raise  # no closed form to fall back on
            notes.append(f"not traced: {refused}")
    memory = _of_trace(trace, w, source, device, known) if trace else _of_formula(w, source, device, known)
    flops, below = (trace["flops"], trace["below"]) if trace else _flops(w, source)
    if below and w.trainer == "trimtab":
        flops, memory = _with_kept_states(flops, below, memory, w, source, device)
    parameters = trace["parameters"] if trace else source.known.parameters if source.known else None
    margin = known.get("margin", MARGIN) if w.sharding == "none" else sharding.MARGIN
    if device and device.fp16 and not device.bf16 and "bfloat16" in (computed_in(w), w.dtype):
        right = "dtype=float32 autocast=fp16" if w.method == "full" else "dtype=float16 autocast=fp16"
        notes.append(f"{device.name} has no bfloat16 in hardware: use {right}")
    if w.offload and parameters:
        each = 16 if w.method == "full" else 2
        notes.append(f"offloading needs about {each * parameters / 2**30:.0f} GiB of host memory in all")
    if memory.evaluation and memory.evaluation > memory.allocated:
        notes.append(
            f"evaluation needs more than training ({memory.evaluation / 2**30:.1f} GiB): lower"
            " per_device_eval_batch_size"
        )
    return Forecast(
        workload=w.model_dump(mode="json"),
        model={"name": source.name, "family": source.family, "parameters": parameters,
               "trainable": trace["trainable"] if trace else None},
        memory=memory, how=how, sure=sure,
        device=asdict(device) if device else None,
        fit=judge(memory, device.memory, margin) if device else None,
        margin=margin,
        duration=duration(flops, w, parameters, device, known) if flops and parameters else None,
        flops=flops, versions=cache.versions(), notes=tuple(notes),
    )  # fmt: skip


def completed(w: Workload, source: ModelSource) -> Workload:
    """What "auto" and defaults mean for this model."""
    changes: dict[str, Any] = {"task": source.task} if w.task == "auto" else {}
    if source.task == "image-classification" and "max_length" not in w.model_fields_set:
        size = source.config.get("image_size", 224)
        changes["max_length"] = size[0] if isinstance(size, list) else size
    if source.task != "sft" and "gradient_checkpointing" not in w.model_fields_set:
        changes["gradient_checkpointing"] = False  # small models: nobody recomputes them, and some cannot
    if (
        source.task == "image-classification"
        and w.attn_implementation == "sdpa"
        and source.family in ("resnet", "convnext", "swin")
    ):
        changes["attn_implementation"] = "eager"  # no fused attention in these
    if w.packing and w.attn_implementation != "flash_attention_2":
        changes["padded"] = True  # a block mask is built; flash attention takes the borders instead
    return w.but(**changes) if changes else w


def check_fits_model(w: Workload, source: ModelSource) -> None:
    """All at once: what this model cannot do."""
    problems = []
    if source.positions and w.max_length > source.positions and w.task != "image-classification":
        problems.append(
            f"max_length {w.max_length} is above the model's {source.positions} positions; at most {source.positions}"
        )
    deep = source.config.get("num_hidden_layers")
    if deep and w.layers_to_transform and max(w.layers_to_transform) >= deep:
        problems.append(
            f"layers_to_transform {max(w.layers_to_transform)} is not in this model; it has layers 0 to {deep - 1}"
        )
    if source.known and w.method != "full" and source.known.linears:
        linears = source.known.linears
        wanted = [w.target_modules] if isinstance(w.target_modules, str) else w.target_modules
        chosen = (
            linears
            if wanted == ["all-linear"]
            else {n: s for n, s in linears.items() if n.rsplit(".", 1)[-1] in wanted}
        )
        missing = [
            t for t in wanted if t != "all-linear" and not any(n.rsplit(".", 1)[-1] == t or n == t for n in linears)
        ]
        if missing:
            names = sorted({n.rsplit(".", 1)[-1] for n in linears})
            problems.append(
                f"target_modules {', '.join(missing)} name no layer of this model; it has {', '.join(names)}"
            )
        small = min((min(s) for s in chosen.values()), default=None)
        if small is not None and w.r > small:
            problems.append(f"r {w.r} is above the size of the smallest target layer ({small}); at most {small}")
    if problems:
        raise SpecError(f"{w.method} of {w.model}", problems)


def traced(w: Workload, source: ModelSource, say: Say) -> dict[str, Any]:
    """The trace as plain data, from the cache where it was made before."""
    name = cache.key(w, source.config)
    if trace := cache.load(name):
        return trace
    say(f"Tracing a step: {w.method}, {w.per_device_train_batch_size} × {w.max_length}")
    with _uncollected():
        from trimtab.forecasting.trace import trace_config

        trace = trace_config(source.config, w)
    cache.save(name, trace)
    return trace


@contextmanager
def _uncollected() -> Iterator[None]:
    """Loading libraries and tracing make millions of objects that live: looking for dead ones took a second of four."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _of_trace(
    t: Mapping[str, Any], w: Workload, source: ModelSource, device: Device | None, known: Mapping[str, Any]
) -> Memory:
    phases = {
        p: sharding.shard(terms, w, sharding.Size(t["layers"], t["parameters"], t["trainable"], t["root"]), p)
        for p, terms in t["phases"].items()
        if not p.startswith("evaluation")
    }
    at = max(phases, key=lambda p: sum(phases[p].values()))
    alone = max(sum(v.values()) for p, v in t["phases"].items() if not p.startswith("evaluation"))
    evaluation = max((sum(v.values()) for p, v in t["phases"].items() if p.startswith("evaluation")), default=0)
    terms = _with_workspace(phases[at], w, device, known)
    total = sum(terms.values())
    extra = total - sum(phases[at].values())
    nearest = min(WORKSPACES, key=lambda size: abs(2 * size - extra))
    reserved, expandable = (t[k][WORKSPACES.index(nearest)] for k in ("reserved", "reserved_expandable"))
    # sharded, the one device's share of cached but unused memory is kept
    scale = sum(phases[at].values()) / alone
    return Memory(
        terms=terms, allocated=total, at=at, context=_context(w, known),
        reserved=int(reserved * scale) + extra if w.device == "cuda" else total,
        reserved_expandable=int(expandable * scale) + extra if w.device == "cuda" else total,
        evaluation=evaluation + extra if w.sharding == "none" else None,
        generation=_generation(w, source, phases[at]) if w.sharding == "none" else None,
    )  # fmt: skip


def _of_formula(w: Workload, source: ModelSource, device: Device | None, known: Mapping[str, Any]) -> Memory:
    if source.known is None:
        raise ForecastRefused(
            f"{source.name} has no closed form (it is not in the catalogue), so there is nothing to fall back on"
        )
    shape = closed_form.shape_of(source.known)
    alone = closed_form.closed_form(shape, w)
    trainable = closed_form.adapter_parameters(shape, w) if w.trains_adapter else shape.parameters
    size = sharding.Size(shape.layers, shape.parameters, trainable, closed_form.root_parameters(shape))
    terms = _with_workspace(sharding.shard(alone, w, size), w, device, known)
    total = sum(terms.values())
    reserved = int(total * closed_form.RESERVED) if w.device == "cuda" else total
    return Memory(
        terms, total, reserved, int(total * 1.03), _context(w, known), generation=_generation(w, source, terms)
    )


def _with_workspace(
    terms: Mapping[str, int], w: Workload, device: Device | None, known: Mapping[str, Any]
) -> dict[str, int]:
    if w.device != "cuda":
        return dict(terms)
    hopper = device is not None and any(name in device.name.upper().replace("-", " ").split() for name in HOPPER)
    return {**terms, "workspace": known.get("workspace") or 2 * WORKSPACES[hopper]}  # forward and backward: two threads


def _context(w: Workload, known: Mapping[str, Any]) -> int:
    return int(known.get("context") or CONTEXT) if w.device == "cuda" else 0


def _generation(w: Workload, source: ModelSource, terms: Mapping[str, int]) -> int | None:
    """Weights, keys and values of every layer, and one row of logits each: a closed form."""
    if w.task != "sft" or source.known is None:
        return None
    s = closed_form.shape_of(source.known)
    rows = 64 if w.trainer == "trimtab" else w.eval_rows
    cached = 2 * s.layers * s.kv_width * closed_form.BYTES[w.dtype] * rows * (w.max_length + w.max_new_tokens)
    return terms.get("weights", 0) + terms.get("adapter", 0) + cached + rows * s.vocabulary * 6


def _flops(w: Workload, source: ModelSource) -> tuple[int, int]:
    """(of a step, of them below every trained layer); zeros where nothing is known of the model."""
    return closed_form.flops(closed_form.shape_of(source.known), w) if source.known else (0, 0)


def _with_kept_states(
    flops: int, below: int, memory: Memory, w: Workload, source: ModelSource, device: Device | None
) -> tuple[int, Memory]:
    """Our own loop keeps what the frozen lower layers give for each example, if a quarter of the free memory holds it
    (run/frozen_prefix.py): memory for time."""
    config = source.config
    width = config.get("hidden_size") or config.get("text_config", {}).get("hidden_size", 0)
    tokens = (w.examples or 0) * (1 if w.head_alone else w.mean_length or w.max_length)
    states = int(tokens * width * closed_form.BYTES[w.dtype])
    if device and states > STATES_ROOM * (device.memory - memory.used):
        return flops, memory
    return of_a_step(flops, below, w), memory.plus(KEPT_STATES, states)


def _sure(t: Mapping[str, Any], w: Workload) -> str:
    if w.sharding != "none":
        return f"over {w.devices} devices: {sharding.SURE[w.sharding]}"
    return "from the installed code" + (" at full depth" if t["whole"] else "")


def _notes(w: Workload, source: ModelSource, instant: bool) -> list[str]:
    notes = []
    for name in ("attention_dropout", "attn_pdrop", "attention_probs_dropout_prob"):
        if source.config.get(name):
            notes.append(
                f"{name} {source.config[name]:g} is traced as 0: a card's kernels draw it inside, a trace would see a"
                " square"
            )
    if not instant and (w.attn_implementation == "flash_attention_2" or w.quantised or w.use_liger_kernel):
        notes.append(
            "kernels that cannot run here (4-bit, flash attention, Liger) are stand-ins with their allocation pattern"
        )
    if w.quantised and source.known and source.known.experts:
        notes.append("experts that transformers holds as one block are not quantised by bitsandbytes: they stay 16-bit")
    if w.packing:
        mask = "" if w.attn_implementation == "flash_attention_2" else " and needs a block mask"
        notes.append(f"packing fills every row to max_length{mask}")
    return notes
