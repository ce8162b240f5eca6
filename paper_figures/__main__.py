"""The command line, ``python -m paper_figures``: heavy imports wait until arguments are read."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paper_figures.claims import Claim
    from paper_figures.registry import Figure
    from paper_figures.results import Need, Outcome


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m paper_figures",
        description="Draw the papers' figures and print the ledger of their claims.",
        epilog="Results are kept in OUT/results: a run that was stopped goes on where it was.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="figures to draw, or papers whose figures to draw and whose ledger to print (default: "
        "all papers); or 'list' to list the figures; or 'claims', and papers if not all, for the "
        "ledger alone",
    )
    parser.add_argument("--quick", action="store_true", help="few seeds: a look, not a result")
    parser.add_argument(
        "--data",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder of MNIST's four IDX files, or of CIFAR-10's binary version: compute from them "
        "instead of drawing what is recorded; may be given once for each",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument("--format", choices=("png", "pdf", "svg"), default="png")
    parser.add_argument("--json", action="store_true", help="with 'claims': print JSON")
    parser.add_argument(
        "--recompute", action="store_true", help="ignore stored results and checkpoints"
    )
    parser.add_argument(
        "--jobs", type=int, default=-1, metavar="N", help="processes (default: one a core)"
    )
    parser.add_argument(
        "--cluster", metavar="ADDRESS", help="run studies on a dask cluster, as tcp://host:8786"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0, 1 for damage, 2 for bad input."""
    parser = _parser()
    arguments = parser.parse_args(arguments)
    command, named = "draw", arguments.names
    if named[:1] in (["list"], ["claims"]):
        command, *named = named
    if command == "list" and named:
        parser.error("'list' takes no names")
    if arguments.json and command != "claims":
        parser.error("--json goes with 'claims'")
    if arguments.jobs == 0:
        parser.error("--jobs must not be 0")

    from paper_figures import registry
    from paper_figures.results import Options, obtain
    from store.results import CorruptResult, ResultStore
    from store.sweep import SweepFailed, deaths_as_plain_lines, workers

    figures = {figure.name: figure for figure in registry.figures()}
    if command == "list":
        for figure in figures.values():
            print(f"{figure.name}\n    {figure.caption}")
        return 0
    kind, offered = "figure or paper", (*registry.PAPERS, *figures)
    if command == "claims":
        kind, offered = "paper", registry.PAPERS
    if unknown := [name for name in named if name not in offered]:
        parser.error(f"no {kind} {', '.join(unknown)}; there are: {', '.join(offered)}")
    wanted = dict.fromkeys(named or registry.PAPERS)
    papers = [name for name in wanted if name in registry.PAPERS]
    claims = registry.claims(*papers) if papers else []
    drawn: dict[str, Figure] = {}
    for name in wanted if command == "draw" else ():
        own = registry.figures(name) if name in papers else [figures[name]]
        drawn |= {figure.name: figure for figure in own}
    checks = [check for claim in claims for check in claim.checks]
    needs = dict.fromkeys(
        need for owner in (*drawn.values(), *checks) for need in owner.needs.values()
    )
    options = Options(
        store=ResultStore(arguments.out / "results"),
        data_dirs=arguments.data,
        quick=arguments.quick,
        recompute=arguments.recompute,
        jobs=arguments.jobs,
    )
    try:
        with deaths_as_plain_lines(), workers(arguments.cluster):
            outcomes = obtain(list(needs), options)
    except (CorruptResult, OSError, SweepFailed, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, CorruptResult | SweepFailed) else 2
    _draw(list(drawn.values()), outcomes, arguments.out, arguments.format)
    if claims:
        _print_ledger(claims, outcomes, as_json=arguments.json, quick=arguments.quick)
    return 0


def _draw(
    figures: Sequence[Figure], outcomes: Mapping[Need, Outcome], out: Path, suffix: str
) -> None:
    """Draw and write each figure that has any of its data, and say where it is."""
    from tqdm import tqdm

    from paper_figures import style
    from paper_figures.results import Unavailable
    from store.files import write_atomically

    for figure in tqdm(figures, desc="figures", unit="figure", disable=None):
        found = {name: outcomes[need] for name, need in figure.needs.items()}
        available = {
            name: outcome for name, outcome in found.items() if not isinstance(outcome, Unavailable)
        }
        if not available:
            reason = "; ".join({outcome.reason for outcome in found.values()})
            tqdm.write(f"{figure.name} is not drawn: {reason}")
            continue
        content = io.BytesIO()
        with style.applied():
            figure.plot(available).savefig(content, format=suffix)
        path = out / f"{figure.name}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.getvalue())
        tqdm.write(str(path))


def _print_ledger(
    claims: Sequence[Claim], outcomes: Mapping[Need, Outcome], *, as_json: bool, quick: bool
) -> None:
    from paper_figures.claims import as_text, ledger

    rows = ledger(claims, outcomes)
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False))
        return
    if quick:
        print("Quick run, with few seeds: the verdicts are not those of the full run.\n")
    print(as_text(rows))


if __name__ == "__main__":
    sys.exit(main())
