"""The folder that a verb works in. Takes a path, gives its store; a full disk, a second writer and a missing store
are one sentence each."""

from __future__ import annotations

import contextlib
import errno
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.errors import SpaceError, StoreError
from trimtab.spec.options import DEFAULT_OUT

if TYPE_CHECKING:
    from trimtab.store import Store


def typed(verb: str, name: str, out: str | Path) -> str:
    """The command that does this with what is in this folder."""
    folder = [] if Path(out) == DEFAULT_OUT else ["--out", str(out)]
    return shlex.join(["trimtab", *verb.split(), name, *folder])


@contextlib.contextmanager
def opened(out: str | Path, create: bool = True) -> Iterator[Store]:
    """The store of a folder, with a full disk turned into one sentence."""
    from trimtab.store import Store

    path = Path(out)
    if path.exists() and not path.is_dir():
        raise StoreError(f"--out {path} is a file; give a folder")
    try:
        try:
            store = Store(path, create=create)
        except (FileNotFoundError, NotADirectoryError, FileExistsError):
            raise StoreError(f"{path} cannot be made a folder; give another one with --out") from None
        with _only_writer(path) if create else contextlib.nullcontext():
            try:
                yield store
            finally:
                with contextlib.suppress(StoreError):  # what went wrong before is what matters
                    store.leave()
    except Exception as error:
        number = getattr(error, "errno", None)
        if number == errno.ENOSPC or "No space left" in str(error):  # safetensors has an error class of its own
            raise SpaceError(
                f"the disk of {path} is full; free some space and start the same command again: it continues where"
                " it was"
            ) from None
        if number in (errno.EACCES, errno.EROFS):
            raise StoreError(f"{path} cannot be written; give another folder with --out") from None
        raise


def move_store(folder: Path, url: str | None) -> str:
    """Where a folder's store is; with `url`, where it is from now on. What a file held before stays in that file,
    and is said."""
    from trimtab.store import Store
    from trimtab.store.engine import address, keep_at, shown

    if url is None:
        return shown(address(folder) or f"sqlite:///{folder / 'trimtab.db'}")
    if (folder / "trimtab.db").exists():
        raise StoreError(
            f"{folder} has a store with runs in it; give a new folder with --out for the one at {shown(url)}"
        )
    Store(url=url).close()  # whether it can be reached, before it is written down
    keep_at(folder, url)
    return shown(url)


@contextlib.contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Two processes that train into one folder would overwrite each other's checkpoints. StoreError for the second."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise StoreError(
            f"another trimtab is working in {folder}; wait for it or give another folder with --out"
        ) from None
    try:
        yield
    finally:
        lock.release()
