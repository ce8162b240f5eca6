"""The command line of a package of studies: heavy imports wait until arguments are read."""

from __future__ import annotations

import argparse
import functools
import importlib
import inspect
import json
import os
import shlex
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

    from store.results import ResultStore
    from store.sweep import Study

# --seeds, --data and --device say the first three, and the sweep the last
_NOT_PARAMETERS = ("seed", "seeds", "data_dir", "device", "checkpoints")


def run_studies(
    package: str,
    topics: Sequence[str],
    arguments: Sequence[str] | None = None,
    *,
    description: str,
    on_devices: bool = False,
) -> int:
    """List the studies of a package or run one of them, as the command line says.

    Parameters
    ----------
    package : str
        "sims" or "deep".
    topics : sequence of str
        Its modules that declare ``STUDIES``.
    arguments : sequence of str, optional
        Command-line arguments; those of the process when omitted.
    description : str
        What the package does, for ``--help``.
    on_devices : bool
        Whether studies run on a device: then there is ``--device``.

    Returns
    -------
    int
        Exit status: 0, 1 for damage, 2 for bad input.
    """
    parser = _parser(package, description, on_devices)
    options = parser.parse_args(arguments)
    options.package, options.on_devices = package, on_devices
    studies = {
        f"{topic}.{study.__name__}": study
        for topic in topics
        for study in importlib.import_module(f"{package}.{topic}").STUDIES
    }
    if options.command == "list":
        print("\n".join(_described(name, study) for name, study in studies.items()))
        return 0
    named = [name for name in studies if options.name in (name, name.partition(".")[2])]
    if len(named) != 1:
        problem = "no study" if not named else "several studies are called"
        parser.error(f"{problem} {options.name}; there are: {', '.join(named or studies)}")
    options.name = named[0]
    study = studies[options.name]
    given = _read_parameters(study, options)
    return _run(study, given, options)


def _parser(package: str, description: str, on_devices: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description=description)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("list", help="list the studies and their parameters")
    run = commands.add_parser(
        "run",
        help="run a study over seeds",
        allow_abbrev=False,
        usage="%(prog)s [options] NAME [--parameter VALUE ...]",
        epilog="'run NAME --help' tells of the study's own parameters. A run that was stopped goes "
        "on where it was.",
    )
    run.add_argument(
        "name", metavar="NAME", help="the study, as 'list' names it, or without its topic"
    )
    _add_options(run, on_devices)
    run.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _add_options(parser: argparse.ArgumentParser, on_devices: bool) -> None:
    """Add what every study's run takes."""
    parser.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="run seeds 0 to N-1 (default: 1)"
    )
    parser.add_argument(
        "--jobs", type=int, default=-1, metavar="N", help="processes (default: one a core)"
    )
    parser.add_argument(
        "--cluster", metavar="ADDRESS", help="run on a dask cluster, as tcp://host:8786"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of a data set's files, such as MNIST's or CIFAR-10's binary version",
    )
    parser.add_argument(
        "--store",
        type=Path,
        default=Path("out/results"),
        metavar="DIR",
        help="where every seed's result is kept (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE.nc", help="write all seeds to this netCDF file"
    )
    parser.add_argument(
        "--recompute", action="store_true", help="ignore stored results and checkpoints"
    )
    if on_devices:
        parser.add_argument(
            "--device", metavar="NAME", help="cpu, cuda, cuda:1, … (default: a GPU if there is one)"
        )


# --- a study's own parameters ---------------------------------------------------------------------


def _read_parameters(study: Study, options: argparse.Namespace) -> dict[str, Any]:
    """Return the parameters that are given; complete the options by those that follow the name.

    A mistake ends the program with status 2.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {options.package} run {options.name}",
        allow_abbrev=False,
        usage="%(prog)s [options] [--parameter VALUE ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=inspect.getdoc(study),
    )
    _add_options(parser, options.on_devices)
    own = parser.add_argument_group("parameters", "lists as 0,1 or as JSON")
    defaults = _defaults(study)
    for name, default in defaults.items():
        own.add_argument(
            *dict.fromkeys((_option(name), f"--{name}")),
            dest=f"parameter {name}",  # the space: no option of ours can have this name
            type=functools.partial(_value, like=default),
            default=argparse.SUPPRESS,
            metavar="VALUE",
            help=f"default: {_shown(default)}".replace("%", "%%"),
        )
    _, unknown = parser.parse_known_args(options.rest, options)
    if unknown:
        names = ", ".join(_option(name) for name in defaults)
        parser.error(f"unknown {' '.join(unknown)}; the study's parameters are {names}")
    _check(study, options, parser)
    given = vars(options)
    return {name: given[key] for name in defaults if (key := f"parameter {name}") in given}


def _check(study: Study, options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    if options.seeds < 1:
        parser.error("--seeds must be at least 1")
    if options.jobs == 0:
        parser.error("--jobs must not be 0")
    if options.out and options.out.suffix != ".nc":
        parser.error(f"--out must end in .nc, not be {options.out}")
    if options.data and "data_dir" not in inspect.signature(study).parameters:
        parser.error(f"{options.name} reads no data: it takes no --data")


def _defaults(study: Study) -> dict[str, Any]:
    """Return a study's parameters with their defaults, without those that are said elsewhere."""
    parameters = inspect.signature(study).parameters.values()
    return {each.name: each.default for each in parameters if each.name not in _NOT_PARAMETERS}


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _described(name: str, study: Study) -> str:
    """Return a study's name, first line and parameters, as `list` prints them."""
    summary = (inspect.getdoc(study) or "").partition("\n")[0]
    # A no-break space keeps an option and its value on one line.
    defaults = " ".join(
        f"{_option(name)}\xa0{shlex.quote(_shown(value))}"
        for name, value in _defaults(study).items()
    )
    wrapped = textwrap.indent(textwrap.fill(defaults, 96, break_on_hyphens=False), "    ")
    return "\n".join([name, f"    {summary}", wrapped.replace("\xa0", " ")])


def _shown(value: Any) -> str:
    """Write a value as the command line takes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and value and not any(map(_nests, value)):
        return ",".join(map(_shown, value))
    return json.dumps(value, separators=(",", ":"))


def _nests(value: Any) -> bool:
    return isinstance(value, list | tuple | dict)


def _value(text: str, like: Any) -> Any:
    """Read a value of the default's type: JSON, or items with commas, or a bare word."""
    if isinstance(like, str):
        return text
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = [_json_or_word(each) for each in text.split(",")] if "," in text else text
    return _as(value, like)


def _json_or_word(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _as(value: Any, like: Any) -> Any:
    """Give a value the type of `like`: 1 for 1.0 would be another cell of the store."""
    if like is None:
        return value
    if isinstance(like, list | tuple):
        values = value if isinstance(value, list) else [value]
        # All alike, as a path of precisions; or each its own type, as (learning rate, batch size).
        likes = like if len({type(each) for each in like}) > 1 else [*like[:1]] * len(values)
        return list(map(_as, values, likes)) if len(likes) == len(values) else values
    if isinstance(like, float) and type(value) is int:
        return float(value)
    if type(value) is not type(like):
        raise argparse.ArgumentTypeError(f"must be like {_shown(like)}, not {_shown(value)}")
    return value


# --- running --------------------------------------------------------------------------------------


def _run(study: Study, given: Mapping[str, Any], options: argparse.Namespace) -> int:
    """Run the study, and print its result or write it."""
    from store.results import CorruptResult, ResultStore
    from store.sweep import SweepFailed

    try:
        if options.out:
            _prepare(options.out)
        result = _result(study, given, options, ResultStore(options.store))
        if options.out:
            _write(result, options.out)
    except (ArithmeticError, CorruptResult, OSError, SweepFailed, TypeError, ValueError) as error:
        print("\n".join([f"error: {error}", *getattr(error, "__notes__", [])]), file=sys.stderr)
        return 1 if isinstance(error, ArithmeticError | CorruptResult | SweepFailed) else 2
    if os.environ.get("RANK", "0") == "0":  # torchrun starts several, of which one speaks
        print(options.out or f"{result}\n\nEvery seed's result is kept in {options.store}.")
    return 0


def _result(
    study: Study, given: Mapping[str, Any], options: argparse.Namespace, store: ResultStore
) -> xr.Dataset:
    """Compute what the store lacks, and return all seeds."""
    from store import datasets
    from store.sweep import cells_of, deaths_as_plain_lines, run_cells, stacked, workers

    parameters, location = {**_defaults(study), **given}, {}
    if options.on_devices and options.device:
        location["device"] = options.device
    if options.data:
        location["data_dir"] = str(options.data)
        if "dataset" not in given:
            parameters["dataset"] = datasets.identify(options.data)
    cells = cells_of(study, parameters, options.seeds, location)
    with deaths_as_plain_lines(), workers(options.cluster):
        run_cells(cells, store, jobs=options.jobs, recompute=options.recompute)
    return stacked(study, parameters, options.seeds, store)


def _prepare(path: Path) -> None:
    """Make sure, before any work, that a file can be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(f"--out must be a file: {path} is a folder")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"--out cannot be written: {path.parent} is read-only")


def _write(result: xr.Dataset, path: Path) -> None:
    from store.files import write_atomically

    write_atomically(path, bytes(result.to_netcdf(engine="netcdf4")))
