"""Who works at something: a process by its machine, number and birth. Takes the name it gave itself, says whether it
is still there."""

from __future__ import annotations

import os
import socket

import psutil


def me() -> str:
    """This process: host/pid/second it was born."""
    return f"{socket.gethostname()}/{os.getpid()}/{psutil.Process().create_time():.0f}"


def lives(owner: str | None) -> bool | None:
    """None where it is, or was, on another machine: from here nobody can say."""
    host, pid, born = (owner or "//").split("/")
    if not host:
        return False
    if host != socket.gethostname():
        return None
    try:
        process = psutil.Process(int(pid))
        return f"{process.create_time():.0f}" == born and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ValueError):
        return False
