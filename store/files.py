"""Files that are whole or absent, and the checksums that tell one content from another."""

import hashlib
import os
import secrets
from pathlib import Path
from typing import Literal


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is, at every moment, the old one, the new one, or absent.

    The data goes to a temporary file in the same folder, is flushed to the disk, and takes the
    final name in one step. Several processes may write the same path at once: the last one wins.
    A process killed in between leaves at most a hidden temporary file, which nothing reads.

    Parameters
    ----------
    path : Path
        The file, in a folder that exists.
    data : bytes
        Its whole content.

    Raises
    ------
    OSError
        If the file cannot be written (FileNotFoundError if the folder is missing). The temporary
        file is then removed and what stood under `path` is untouched.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder, "note.txt"), b"whole")
    ...     Path(folder, "note.txt").read_bytes()
    b'whole'
    """
    # Not tempfile: its files are readable by their owner alone, and the mode would stay.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Put the new name itself on the disk, where the system lets a folder be flushed."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def checksum(data: bytes, algorithm: Literal["md5", "sha256"] = "sha256") -> str:
    """Hexadecimal digest of `data`.

    Parameters
    ----------
    data : bytes
        What is digested.
    algorithm : {"sha256", "md5"}
        MD5 only where published checksums are to be compared with.

    Examples
    --------
    >>> checksum(b"", "md5")
    'd41d8cd98f00b204e9800998ecf8427e'
    """
    return hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()
