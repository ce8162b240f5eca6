"""Results of studies: each computed once, found again by what was asked, whole or absent.

A cell of the store is one study with one set of parameters. Its folder is the signac job of
``{"study": …, "parameters": …}``, so that ``signac find`` searches a store; the Dataset lies in it
as ``result.nc``, a netCDF file with a checksum behind its end. signac's hash and layout are used,
but not its own writing: it writes the state point and the project's configuration in place, where
a process killed in between leaves an empty file that signac refuses from then on, and a second
process can read a half-written one.
"""

import contextlib
import functools
import json
import math
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import signac
import xarray as xr
from signac.job import calc_id

from store.files import checksum, write_atomically

# The last line of a file: the checksum of all before it. HDF5 ignores what follows its own end, so
# any netCDF reader opens the file. An attribute would not do: it can be read only by parsing the
# file, and HDF5, given a single wrong byte in its structure, may loop forever.
_SEAL = b"\nsha256 "
_SEAL_SIZE = len(_SEAL) + 64


class CorruptResult(Exception):  # noqa: N818 - a state of the file, not a mistake of the caller
    """A result file that is damaged, altered, or another cell's."""


class ResultStore:
    """Results on disk, keyed by study and parameters.

    A store is opened by its directory, which need not exist: reading creates nothing, so a
    recorded store in a read-only installation is opened like any other. Any number of processes
    may read and write one store at once; of two that save the same cell, the last one wins.

    Parameters
    ----------
    directory : Path or str
        Root of the store.

    Notes
    -----
    Every method takes the identity of a cell and checks it before any work:

    study : str
        Dotted name of the study, such as ``"sims.evidence.linear_memorization"``.
    parameters : mapping
        All its parameters, seed included: None, bool, int, finite float, str, and lists and
        mappings of these. Tuples count as lists and NumPy scalars as Python's; the order of keys
        is of no account; 1 and 1.0 are different.

    They raise TypeError for a name or parameter of another type, and ValueError for a name that
    is not dotted identifiers, a number that is not finite, or a key with a dot in it (signac's
    notation for nested keys).

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = ResultStore(folder)
    ...     print(store.load("sims.demo", {"seed": 0}))
    ...     _ = store.save("sims.demo", {"seed": 0}, xr.Dataset({"loss": ("step", [1.0, 0.5])}))
    ...     print(store.load("sims.demo", {"seed": 0})["loss"].values)
    None
    [1.  0.5]
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)

    def path(self, study: str, parameters: Mapping[str, Any]) -> Path:
        """Where the result lies, or would lie.

        Raises
        ------
        TypeError, ValueError
            See the class.
        """
        return self._path(_identity(study, parameters))

    def load(self, study: str, parameters: Mapping[str, Any]) -> xr.Dataset | None:
        """Read a result into memory.

        Returns
        -------
        xarray.Dataset or None
            What `save` was given, with its provenance in the attributes; None if there is none.

        Raises
        ------
        CorruptResult
            If the file is damaged, or its content is not what was saved for this cell.
        TypeError, ValueError
            See the class.
        """
        identity = _identity(study, parameters)
        path = self._path(identity)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        body, seal = content[:-_SEAL_SIZE], content[-_SEAL_SIZE:]
        if seal != _seal(body):
            raise _corrupt(path, "is not as it was saved: its checksum differs")
        dataset, labels = _decode(body), _labels(identity)
        if any(dataset.attrs.get(key) != value for key, value in labels.items()):
            raise _corrupt(path, "is the result of another study or other parameters")
        dataset.attrs = labels | dict(
            sorted(dataset.attrs.items())
        )  # netCDF has no order of its own
        return dataset

    def save(
        self,
        study: str,
        parameters: Mapping[str, Any],
        dataset: xr.Dataset,
        *,
        wall_seconds: float | None = None,
    ) -> Path:
        """Write a result, replacing one that is there.

        The attributes of the file are those of `dataset`, completed by `provenance`. Those that
        `dataset` brings win: a study may state its own ``device``, and a result copied from
        another store keeps its origin.

        Parameters
        ----------
        study, parameters
            See the class.
        dataset : xarray.Dataset
            Variables of numbers, booleans or strings. In attributes, True, False and None are
            stored as 1, 0 and ``"None"``, since netCDF lacks them.
        wall_seconds : float, optional
            How long the study took, in seconds; an attribute of the file.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        TypeError
            If `dataset` is not a Dataset, a variable holds neither numbers, booleans nor strings,
            or an attribute is nothing that netCDF can hold; also see the class.
        ValueError
            If netCDF would alter the Dataset's content; also see the class.
        """
        identity = _identity(study, parameters)
        body = _encode(_complete(dataset, identity, wall_seconds))
        path = self._path(identity)
        self._init_signac()
        _make_cell(path.parent, identity)
        write_atomically(path, body + _seal(body))
        return path

    def remove(self, study: str, parameters: Mapping[str, Any]) -> None:
        """Remove a result, if there is one.

        The cell's folder stays, so that a process that is just saving there does not fail.

        Raises
        ------
        TypeError, ValueError
            See the class.
        """
        self.path(study, parameters).unlink(missing_ok=True)

    def _path(self, identity: dict[str, Any]) -> Path:
        # What `project.open_job(identity).fn("result.nc")` says; but opening a project creates
        # its folders, and reading must not.
        return Path(self.directory, "workspace", calc_id(identity), "result.nc")

    def _init_signac(self) -> None:
        """Make the directory a signac project."""
        config = Path(".signac", "config")
        if not (self.directory / config).is_file():
            with signac.TemporaryProject() as project:
                content = Path(project.path, config).read_bytes()
            (self.directory / config).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.directory / config, content)


def _make_cell(folder: Path, identity: dict[str, Any]) -> None:
    """Make a cell's folder, with its state point in it from the first moment.

    signac takes a folder without a state point for a damaged job. So the folder is made under a
    name that signac passes over and then renamed, which fails if another process was faster.
    """
    if (folder / signac.job.Job.FN_STATE_POINT).is_file():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as temporary:
        cell = Path(temporary, folder.name)
        cell.mkdir()
        write_atomically(cell / signac.job.Job.FN_STATE_POINT, json.dumps(identity).encode())
        with contextlib.suppress(OSError):
            cell.rename(folder)


def provenance() -> dict[str, str]:
    """Describe what produces a result, as far as this process can tell.

    Returns
    -------
    dict of str
        Version of this package, git commit and whether anything in the checkout differs from it
        ("yes", "no"; "unknown" where the code is not in a checkout), versions of Python and of
        the libraries (torch only if it is in use), device, and the time in UTC. No path and no
        host name.

    Examples
    --------
    >>> sorted(provenance())[:3]
    ['created', 'device', 'git_commit']
    """
    libraries = ["numpy", "scipy", "numba", "xarray"]
    if "torch" in sys.modules:
        libraries.append("torch")
    commit, dirty = _checkout()
    return {
        "package_version": _version("wide-minima"),
        "git_commit": commit,
        "git_dirty": dirty,
        "python_version": platform.python_version(),
        **{f"{library}_version": _version(library) for library in libraries},
        "device": f"cpu ({platform.processor() or platform.machine()})",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


@functools.cache  # once: a process runs the code it began with, whatever is committed meanwhile
def _checkout() -> tuple[str, str]:
    """Commit of this file's git checkout, and "yes" or "no" for changes since."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()

    here = Path(__file__)
    try:
        git("ls-files", "--error-unmatch", here.name)  # not a checkout that merely surrounds us
        return git("rev-parse", "HEAD"), "yes" if git("status", "--porcelain") else "no"
    except (OSError, subprocess.CalledProcessError):
        return "unknown", "unknown"


def _identity(study: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """State point of a cell: what signac hashes."""
    if not isinstance(study, str):
        raise TypeError(f"study must be a string, not {study!r}")
    if not all(part.isidentifier() for part in study.split(".")):
        raise ValueError(f"study must be a dotted name like 'sims.evidence.sweep', not {study!r}")
    if not isinstance(parameters, Mapping):
        raise TypeError(f"parameters must be a mapping, not {parameters!r}")
    return {"study": study, "parameters": _plain(parameters, "parameters")}


def _plain(value: Any, place: str) -> Any:
    """Copy of a parameter in JSON's types; `place` names it in messages."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{place} must be finite, not {value!r}")
        return value
    if isinstance(value, list | tuple):
        return [_plain(each, f"{place}[{index}]") for index, each in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"keys of {place} must be strings, not {key!r}")
            if "." in key:
                raise ValueError(f"keys of {place} must have no dot, not {key!r}")
        return {key: _plain(each, f"{place}[{key!r}]") for key, each in value.items()}
    raise TypeError(
        f"{place} must be None, bool, int, float, str, or a list or mapping of these, "
        f"not {type(value).__name__}"
    )


def _labels(identity: dict[str, Any]) -> dict[str, str]:
    """Attributes that say which cell a file belongs to."""
    parameters = json.dumps(identity["parameters"], sort_keys=True)
    return {"study": identity["study"], "parameters": parameters}


def _complete(
    dataset: xr.Dataset, identity: dict[str, Any], wall_seconds: float | None
) -> xr.Dataset:
    """Copy of a Dataset with all the attributes of its file, in types that netCDF has."""
    if not isinstance(dataset, xr.Dataset):
        raise TypeError(f"dataset must be an xarray.Dataset, not {type(dataset).__name__}")
    # Encodings come from a file read earlier, and are no part of the content.
    complete = dataset.drop_encoding()
    complete.attrs = {**provenance(), **dataset.attrs, **_labels(identity)}
    if wall_seconds is not None:
        complete.attrs["wall_seconds"] = float(wall_seconds)
    complete.attrs = _storable(complete.attrs)
    for name, variable in complete.variables.items():
        if variable.dtype.kind not in "biuf" and not _holds_strings(variable):
            raise TypeError(
                f"variable {name!r} must hold numbers, booleans or strings, not {variable.dtype}"
            )
        variable.attrs = _storable(variable.attrs)
    return complete


def _holds_strings(variable: xr.Variable) -> bool:
    return all(isinstance(each, str) for each in variable.values.flat)


def _storable(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes as netCDF gives them back: True as 1, None as "None", [x] as x."""
    storable = {}
    for name, value in attributes.items():
        array = np.asarray("None" if value is None else value)
        if array.dtype.kind not in "biufU" or array.ndim > 1:
            raise TypeError(
                f"attribute {name!r} must be a number, a string, or a sequence of either, "
                f"not {value!r}"
            )
        plain = (array.astype(int) if array.dtype.kind == "b" else array).tolist()
        storable[name] = plain[0] if array.shape == (1,) else plain
    return storable


def _encode(dataset: xr.Dataset) -> bytes:
    """Content of a netCDF file that is known to give back the same Dataset."""
    # Without a fill value, NaN is a number like any other.
    encoding = {name: {"_FillValue": None} for name in dataset.variables}
    content = bytes(dataset.to_netcdf(engine="netcdf4", encoding=encoding))
    try:
        xr.testing.assert_identical(_decode(content), dataset)
    except AssertionError as error:
        raise ValueError(f"dataset has content that netCDF would alter: {error}") from error
    return content


def _corrupt(path: Path, reason: str) -> CorruptResult:
    # Not the exception's own __init__: with two arguments it could not travel between processes.
    return CorruptResult(
        f"{path} {reason}. To have the result computed again, remove the file or pass --recompute."
    )


def _seal(body: bytes) -> bytes:
    return _SEAL + checksum(body).encode()


def _decode(content: bytes) -> xr.Dataset:
    """Dataset of a netCDF file, read without the conventions that rewrite values by attributes.

    `units = "seconds"` describes a number here; xarray would make it a timedelta.
    """
    return xr.load_dataset(
        content,
        engine="netcdf4",
        decode_times=False,
        decode_timedelta=False,
        mask_and_scale=False,
    ).drop_encoding()
