"""The ledger: each claim of a paper, checked, with a number, an error bar and a verdict.

A claim is checked on one or several data sets or levels. Its criteria are written down with it,
before the run; everything else in the ledger is computed.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import xarray as xr

from paper_figures.results import Need, Outcome, Unavailable

Level = Literal["theory", "simulation", "network"]
Verdict = Literal["reproduced", "not reproduced", "corrected", "not run here"]


class Measured(NamedTuple):
    """A value and its standard error: 0 where nothing is random, NaN where one seed hides it.

    A largest value carries the standard deviation of the seeds' own largest instead.
    """

    value: float
    uncertainty: float


@dataclass(frozen=True)
class Criterion:
    """The range, ends included, that a measured quantity must lie in."""

    quantity: str
    low: float = -math.inf
    high: float = math.inf

    def __str__(self) -> str:
        """Return the criterion as the ledger prints it."""
        if self.low == -math.inf:
            return f"{self.quantity} ≤ {self.high:g}"
        if self.high == math.inf:
            return f"{self.quantity} ≥ {self.low:g}"
        return f"{self.low:g} ≤ {self.quantity} ≤ {self.high:g}"

    def is_met(self, value: float) -> bool:
        """Return whether the value lies in the range."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Check:
    """A claim put to the test: on which data, by which numbers, against which criteria.

    ``measure`` maps the Datasets of ``needs``, by name, to one value per criterion, the principal
    one first. ``success`` is the verdict if all criteria are met: "corrected" where they state not
    the paper's claim but what is true instead. A check that cannot be run here at all has a
    ``reason`` instead of needs and measure.
    """

    level: Level
    data: str
    needs: Mapping[str, Need]
    criteria: Sequence[Criterion]
    measure: Callable[[Mapping[str, xr.Dataset]], Sequence[Measured]] | None = None
    success: Literal["reproduced", "corrected"] = "reproduced"
    reason: str = ""


@dataclass(frozen=True)
class Claim:
    """One statement of a paper, where it stands there, and its checks, the most telling first."""

    id: str
    paper: str
    where: str
    statement: str
    checks: Sequence[Check]


def judge(check: Check, outcomes: Mapping[Need, Outcome]) -> dict[str, Any]:
    """Return the check's entry in the ledger.

    Raises
    ------
    ValueError
        If the check measures another number of values than it has criteria.
    """
    entry: dict[str, Any] = {"level": check.level, "data": check.data}
    unmeasured = {
        "value": None,
        "uncertainty": None,
        "threshold": "; ".join(str(criterion) for criterion in check.criteria),
    }
    datasets = {}
    if check.measure is None:
        return entry | unmeasured | {"verdict": "not run here", "reason": check.reason}
    for name, need in check.needs.items():
        outcome = outcomes[need]
        if isinstance(outcome, Unavailable):
            return entry | unmeasured | {"verdict": "not run here", "reason": outcome.reason}
        datasets[name] = outcome
        # Only results of external files name their data set; it may not be the check's own.
        actual = outcome.attrs.get("dataset", need.dataset)
        if actual != need.dataset:
            label = "MNIST" if need.dataset == "mnist" else need.dataset
            entry["data"] = entry["data"].replace(label, actual)
    if (seeds := min(dataset.sizes["seed"] for dataset in datasets.values())) > 1:
        entry["data"] += f", {seeds} seeds"
    for date in sorted({d.attrs["recorded"] for d in datasets.values() if "recorded" in d.attrs}):
        entry["data"] += f", recorded {date}"
    measured = [
        {
            "value": _number(value),
            "uncertainty": _number(uncertainty),
            "criterion": str(criterion),
            "met": criterion.is_met(value),
        }
        for criterion, (value, uncertainty) in zip(
            check.criteria, check.measure(datasets), strict=True
        )
    ]
    is_met = all(item["met"] for item in measured)
    principal = {key: measured[0][key] for key in ("value", "uncertainty")}
    verdict: Verdict = check.success if is_met else "not reproduced"
    return entry | unmeasured | principal | {"verdict": verdict, "measured": measured}


def _number(value: float) -> float | None:
    """Return the value for JSON, which has no NaN and no infinity."""
    return float(value) if math.isfinite(value) else None


def ledger(claims: Sequence[Claim], outcomes: Mapping[Need, Outcome]) -> list[dict[str, Any]]:
    """Return one entry per claim: its first check's fields, and its ``other_checks``."""
    rows = []
    for claim in claims:
        first, *others = (judge(check, outcomes) for check in claim.checks)
        rows.append(
            {
                "id": claim.id,
                "paper": claim.paper,
                "where": claim.where,
                "statement": claim.statement,
                **first,
                "other_checks": others,
            }
        )
    return rows


def as_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the ledger for a reader."""
    blocks = []
    for row in rows:
        lines = textwrap.wrap(
            f"{row['id']} ({row['where']}): {row['statement']}", 100, subsequent_indent="  "
        )
        for entry in (row, *row["other_checks"]):
            lines.append(f"  {entry['verdict'].upper():15} {entry['level']}, {entry['data']}")
            if "reason" in entry:
                lines.append(f"    {entry['reason']}")
            lines += [f"    {_describe(item)}" for item in entry.get("measured", ())]
        blocks.append("\n".join(lines))
    checks = [entry for row in rows for entry in (row, *row["other_checks"])]
    blocks.append(f"{len(rows)} claims: {_tally(rows)}\n{len(checks)} checks: {_tally(checks)}")
    return "\n\n".join(blocks)


def _tally(entries: Sequence[Mapping[str, Any]]) -> str:
    counts = Counter(entry["verdict"] for entry in entries)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in get_args(Verdict))


def _describe(item: Mapping[str, Any]) -> str:
    value, error = (
        "?" if item[key] is None else format(item[key], digits)
        for key, digits in (("value", ".4g"), ("uncertainty", ".2g"))
    )
    return f"{f'{value} ± {error}':24} {'meets' if item['met'] else 'FAILS'}  {item['criterion']}"
