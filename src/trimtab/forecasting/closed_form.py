"""Memory in closed form: instant, for sliders, and where a trace is refused. Takes catalogue facts, gives bytes. No
torch.

Formulas: parameters and optimizer by their types; NF4 0.5 + 1/64 + 4/16384 bytes a weight; checkpoints L·T·h; without
checkpointing the saved inputs of every linear, norm and product; logits 12 bytes a token and word (bfloat16 logits,
their float32 copy, its softmax and gradients). Good to some 5–20 %, and always labelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trimtab.errors import ForecastRefused
from trimtab.planning.catalogue import KnownModel
from trimtab.spec.workload import Workload

BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
# bytes a trained weight: moments that stay on the card
MOMENTS = {"adamw_torch": 2, "adamw_torch_fused": 2, "sgd": 0, "paged_adamw_8bit": 0, "paged_adamw_32bit": 0}
RESERVED = 1.10  # over allocated: what the replay gave for common cases; 1.03 with a fused head


@dataclass(frozen=True)
class Shape:
    """What the formulas need of a model."""

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    heads: int
    kv_width: int
    linears: dict[str, tuple[int, int]]
    tied: bool


def shape_of(model: KnownModel) -> Shape:
    c = model.config
    hidden, layers = _value(c, "hidden_size", "n_embd"), _value(c, "num_hidden_layers", "n_layer")
    heads = _value(c, "num_attention_heads", "n_head")
    if not (hidden and layers and heads and model.linears):
        raise ForecastRefused(f"{model.name} has no closed form: it is not a stack of equal transformer layers")
    head = c.get("head_dim") or hidden // heads
    return Shape(
        parameters=model.parameters, layers=layers, hidden=hidden, vocabulary=c.get("vocab_size", 0), heads=heads,
        intermediate=_value(c, "intermediate_size", "n_inner") or 4 * hidden,
        kv_width=(c.get("num_key_value_heads") or heads) * head, linears=model.linears,
        tied=bool(c.get("tie_word_embeddings")),
    )  # fmt: skip


def _value(config: dict[str, Any], *names: str) -> int:
    return next((int(config[n]) for n in names if config.get(n)), 0)


def root_parameters(shape: Shape) -> int:
    """Outside the layers: embedding and head."""
    return shape.vocabulary * shape.hidden * (1 if shape.tied else 2)


def adapter_parameters(shape: Shape, w: Workload) -> int:
    """r·(in + out) for each target linear of each layer; of a head alone a row for each label."""
    if w.head_alone:
        return w.members * w.num_labels * (shape.hidden + 1)
    wanted = None if w.target_modules == "all-linear" else w.target_modules
    names = [wanted] if isinstance(wanted, str) else wanted
    chosen = [io for n, io in shape.linears.items() if names is None or n.rsplit(".", 1)[-1] in names or n in names]
    layers = shape.layers if w.layers_to_transform is None else len(w.layers_to_transform)
    return w.members * layers * w.r * sum(a + b for a, b in chosen)


def flops(shape: Shape, w: Workload) -> tuple[int, int]:
    """(of one optimizer step, of them those of the frozen layers below every trained one): a weight and token take two
    forward, two backward, two more where weights are trained, two where they are recomputed."""
    tokens = w.size * w.gradient_accumulation_steps * w.members
    below = 2 * tokens * (shape.parameters - root_parameters(shape)) * w.first_trained(shape.layers) // shape.layers
    again = 2 + (0 if w.trains_adapter else 2) + (2 if w.gradient_checkpointing else 0)
    forward = 2 * tokens * shape.parameters
    return forward + (forward - below) * again // 2, below


def closed_form(shape: Shape, w: Workload) -> dict[str, int]:
    """Bytes by term, as a traced forecast names them, at the highest of: end of the loss, first gradients, the
    update."""
    size = BYTES[w.dtype]
    trained = adapter_parameters(shape, w) if w.trains_adapter else shape.parameters
    each = 4 if w.trains_adapter else size
    state = trained * (2.03 if w.optim == "adamw_bnb_8bit" else MOMENTS.get(w.optim, 2) * each)
    fixed = {
        "weights": _weights(shape, w, size),
        "adapter": 4 * trained if w.trains_adapter else 0,
        "optimizer": int(state),
    }
    step = trained * each * (2 if w.optim == "adamw_torch" else 1)
    logits, kept = _logits(shape, w), _activations(shape, w, size)
    loss = {"activations": kept, "logits and loss": logits}
    update = {"gradients": trained * each, "optimizer step": step - trained * each}
    layer = {"activations": 0 if w.gradient_checkpointing else kept, "gradients": trained * each,
             "backward": _one_layer(shape, w, size)}  # fmt: skip
    worst = max((loss, update, layer), key=lambda d: sum(d.values()))
    return {k: v for k, v in (fixed | worst).items() if v}


def _weights(shape: Shape, w: Workload, size: int) -> int:
    if not w.quantised:
        return size * shape.parameters
    packed = shape.layers * sum(a * b for a, b in shape.linears.values())
    per = 0.5 + 1 / 64 + 4 / 16384 if w.bnb_4bit_use_double_quant else 0.5 + 4 / 64
    rest = shape.parameters - packed
    return int(per * packed + rest * (4 if w.prepare_model_for_kbit_training else size))


def _logits(shape: Shape, w: Workload) -> int:
    tokens = w.size * w.members
    if w.task in ("text-classification", "image-classification"):
        return 0
    if w.use_liger_kernel or w.linear_cross_entropy:
        parts = -(-shape.vocabulary // shape.hidden)
        return 2 * tokens * shape.hidden + 2 * shape.vocabulary * max(1, tokens // max(1, parts))
    labels = w.labels or w.max_length
    return int(12 * labels * w.per_device_train_batch_size) * w.members * shape.vocabulary


def _activations(shape: Shape, w: Workload, size: int) -> int:
    tokens = w.size * w.members
    layers = shape.layers - w.first_trained(shape.layers)  # below nothing is kept for a backward pass
    if w.gradient_checkpointing:
        return layers * tokens * shape.hidden * size
    return layers * _one_layer(shape, w, size)


def _one_layer(shape: Shape, w: Workload, size: int) -> int:
    """Saved by one layer: two norms in float32, q k v out, the gated MLP, and the inputs of adapters."""
    tokens, h = w.size * w.members, shape.hidden
    attention = 2 * h + 2 * shape.kv_width + h
    norms = 2 * (4 * h + 2 * h) // size
    mlp = 4 * shape.intermediate
    adapters = 0 if not w.trains_adapter or w.autocast != "no" else 2 * (4 * h + shape.intermediate)
    quadratic = 2 * shape.heads * w.max_length if w.attn_implementation == "eager" else 0
    return tokens * size * (attention + norms + mlp + adapters + h + quadratic)
