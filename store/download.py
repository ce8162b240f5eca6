"""Public data sets, fetched from where they are published and checked against their checksums.

`pooch` (the extra `download`) does the fetching. Without it or without a network, the files can be
put in place by hand: what is there already is checked and used.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from store.datasets import identify

__all__ = ["DownloadFailed", "download"]


class DownloadFailed(Exception):  # noqa: N818 - a state of the network, not a mistake of the caller
    """A file could not be fetched; the message says how to put it in place by hand."""


@dataclass(frozen=True)
class _File:
    """A file as published; an archive is unpacked beside itself."""

    base: str
    name: str
    md5: str

    @property
    def url(self) -> str:
        return self.base + self.name


_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_CIFAR = "https://www.cs.toronto.edu/~kriz/"
_CINIC = "https://datashare.ed.ac.uk/bitstream/handle/10283/3192/"

# Published beside the files (Fashion-MNIST, CIFAR), or as several independent loaders state them
# (MNIST, CINIC-10).
_FILES: dict[str, tuple[_File, ...]] = {
    "mnist": (
        _File(_MNIST, "train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        _File(_MNIST, "train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        _File(_MNIST, "t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        _File(_MNIST, "t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    ),
    "fashion-mnist": (
        _File(_FASHION, "train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        _File(_FASHION, "train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        _File(_FASHION, "t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        _File(_FASHION, "t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
    "cifar10": (_File(_CIFAR, "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),),
    "cifar100": (_File(_CIFAR, "cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),),
    "cinic10": (_File(_CINIC, "CINIC-10.tar.gz", "6ee4d0c996905fe93221de577967a372"),),
}


def download(dataset: str, directory: Path | str) -> str:
    """Fetch a public data set into a folder, unless it is there.

    Parameters
    ----------
    dataset : {"mnist", "fashion-mnist", "cifar10", "cifar100", "cinic10"}
        Which one. ImageNet is not among them: it is given on request at https://image-net.org.
    directory : Path or str
        Folder for the files, which is made if need be; one folder a data set. A file that lies in
        it already under the published name is not fetched again.

    Returns
    -------
    str
        The identity of what the folder then holds, as :func:`store.datasets.load` takes it.

    Raises
    ------
    DownloadFailed
        If a file cannot be fetched, for want of `pooch` or of a network, or is not the published
        one. The message names each file that is missing, its address, its MD5 checksum and the
        place to put it.
    ValueError
        If `dataset` is none of the above, a file in the folder has another checksum than the
        published one, or the folder holds another data set.
    """
    if dataset not in _FILES:
        hint = "; ImageNet is given on request at https://image-net.org" * ("imagenet" in dataset)
        raise ValueError(f"dataset must be one of {', '.join(_FILES)}, not {dataset!r}{hint}")
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    held = _held(folder)
    missing = [file for file in _FILES[dataset] if not _is_there(file, folder)]
    if held == dataset or (held and not missing):
        return held
    if held:
        raise ValueError(f"{folder} holds {held!r} already: give {dataset!r} a folder of its own")
    for position, file in enumerate(missing):
        _fetch(file, folder, dataset, missing[position:])
    for file in _FILES[dataset]:
        if file.name.endswith(".tar.gz"):
            _unpack(folder / file.name)
    return identify(folder)


def _held(folder: Path) -> str | None:
    try:
        return identify(folder)
    except FileNotFoundError:
        return None


def _is_there(file: _File, folder: Path) -> bool:
    path = folder / file.name
    if not path.is_file():
        return False
    with path.open("rb") as content:
        found = hashlib.file_digest(content, "md5").hexdigest()
    if found != file.md5:
        raise ValueError(
            f"{path} has the MD5 checksum {found}, but the published file has {file.md5}: "
            "remove it to fetch it anew"
        )
    return True


def _fetch(file: _File, folder: Path, dataset: str, missing: Sequence[_File]) -> None:
    try:
        import pooch
    except ImportError:
        reason = "pooch is not installed (pip install wide-minima[download])"
        raise DownloadFailed(_by_hand(dataset, folder, missing, reason)) from None
    try:
        pooch.retrieve(
            file.url,
            known_hash=f"md5:{file.md5}",
            fname=file.name,
            path=folder,
            progressbar=sys.stderr.isatty(),
        )
    except (OSError, ValueError) as error:  # of the network and disk; of another checksum
        raise DownloadFailed(_by_hand(dataset, folder, missing, str(error))) from error


def _by_hand(dataset: str, folder: Path, missing: Sequence[_File], reason: str) -> str:
    lines = [f"cannot download {dataset!r}: {reason}", "To go on by hand, get"]
    lines += [f"  {file.url} (MD5 {file.md5}) as {folder / file.name}" for file in missing]
    return "\n".join([*lines, "and ask again."])


def _unpack(archive: Path) -> None:
    """Unpack an archive beside itself; what is there already stays as it is."""
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".unpacking-") as temporary:
        with tarfile.open(archive) as packed:
            packed.extractall(temporary, filter="data")
        for entry in Path(temporary).iterdir():
            if not (target := archive.parent / entry.name).exists():
                os.replace(entry, target)  # whole or absent, should this be interrupted
