"""What MODEL and DATA hold has an identity of its own, whatever the files are called."""

import shutil

import pytest

from trimtab.errors import SpecError
from trimtab.run.material import load_material
from trimtab.tasks.pretrained import BLOCK, BLOCKS, files_digest, resolve


def test_the_same_material_has_the_same_fingerprint_wherever_it_lies(small_file, tmp_path):
    copy = shutil.copy(small_file, tmp_path / "copy.jsonl")
    assert (
        load_material("bundled:tiny", str(copy)).fingerprint
        == load_material("bundled:tiny", str(small_file)).fingerprint
    )


def test_other_examples_or_other_weights_under_the_same_names_are_other_material(small_file, tmp_path, recipe):
    data, model = tmp_path / "d.jsonl", tmp_path / "model"
    shutil.copy(small_file, data)
    shutil.copytree(resolve("bundled:tiny"), model)
    before = load_material(str(model), str(data))
    written = before.named_in(recipe)
    data.write_text(data.read_text().replace("lamp", "torch"))
    after = load_material(str(model), str(data))
    assert after.named_in(recipe).run_id != written.run_id
    with pytest.raises(SpecError, match="has changed since this recipe was written"):
        after.named_in(written)
    weights = model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert load_material(str(model), str(data)).fingerprint != after.fingerprint


def test_large_files_are_known_by_blocks_from_begin_to_end(tmp_path):
    path = tmp_path / "weights.bin"
    content = bytearray(2 * BLOCKS * BLOCK + 7)
    path.write_bytes(content)
    digest = files_digest(tmp_path)
    for place in (0, len(content) - 1):
        changed = bytearray(content)
        changed[place] = 1
        path.write_bytes(changed)
        assert files_digest(tmp_path) != digest
