r"""Each theorem's algebra as identities that SymPy derives and checks.

An :class:`Identity` holds two expressions that a paper says are equal. The left one is left
*unevaluated* (an integral, a limit, a derivative, a determinant), so that it can be read, rendered
and evaluated by another route; :meth:`Identity.residual` carries the operations out and simplifies
the difference, and :meth:`Identity.holds` says whether that difference is exactly zero.

``python -m theory.derivations [topic]`` prints every identity with its source and its verdict.

SymPy is imported on the first call, so importing this module stays instant.

Examples
--------
>>> from theory import derivations
>>> identity = derivations.identities("evidence")[0]
>>> identity.name
'laplace-one-parameter'
>>> identity.holds()
True
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from theory import (
    _derivations_capacity,
    _derivations_evidence,
    _derivations_interpolation,
    _derivations_memorization,
    _derivations_noise_scale,
    _derivations_smoothout,
)
from theory._identity import Identity

__all__ = ["Identity", "identities", "main", "topics"]

_DERIVATIONS: dict[str, tuple[Callable[[], Identity], ...]] = {
    "evidence": _derivations_evidence.DERIVATIONS,
    "noise_scale": _derivations_noise_scale.DERIVATIONS,
    "memorization": _derivations_memorization.DERIVATIONS,
    "interpolation": _derivations_interpolation.DERIVATIONS,
    "capacity": _derivations_capacity.DERIVATIONS,
    "smoothout": _derivations_smoothout.DERIVATIONS,
}


def topics() -> tuple[str, ...]:
    """Name the topics that have derivations, in the order they are printed.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> topics()
    ('evidence', 'noise_scale', 'memorization', 'interpolation', 'capacity', 'smoothout')
    """
    return tuple(_DERIVATIONS)


def identities(topic: str | None = None) -> list[Identity]:
    """Build the identities of one topic, or of all of them.

    Parameters
    ----------
    topic : str, optional
        One of :func:`topics`; all of them when omitted.

    Returns
    -------
    list of Identity
        In the order of the papers. Nothing has been checked yet.

    Raises
    ------
    ValueError
        If there is no such topic.

    Examples
    --------
    >>> [identity.name for identity in identities("evidence")][:2]
    ['laplace-one-parameter', 'laplace-two-parameters']
    """
    if topic is not None and topic not in _DERIVATIONS:
        raise ValueError(f"topic is {topic!r}; it must be one of {', '.join(_DERIVATIONS)}")
    chosen = topics() if topic is None else (topic,)
    return [derive() for name in chosen for derive in _DERIVATIONS[name]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print each identity with its source and verdict, one line each.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command-line arguments; those of the process when omitted.

    Returns
    -------
    int
        Exit status: 0 if every identity holds, 1 if one fails.
    """
    parser = argparse.ArgumentParser(
        prog="python -m theory.derivations",
        description="Derive the papers' identities with SymPy and print the verdicts.",
    )
    parser.add_argument("topic", nargs="?", choices=topics(), help="one topic; default: all")
    chosen = identities(parser.parse_args(arguments).topic)
    width = max(len(identity.name) for identity in chosen)
    source_width = max(len(identity.source) for identity in chosen)
    failed = False
    for identity in chosen:
        holds = identity.holds()
        failed = failed or not holds
        verdict = "holds" if holds else "FAILS"
        print(f"{identity.name:{width}}  {identity.source:{source_width}}  {verdict}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
