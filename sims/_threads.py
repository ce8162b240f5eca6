"""Kernels release the interpreter's lock, so threads of one process share their work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from theory._validation import positive_integer

Part = TypeVar("Part")


def in_threads(run: Callable[[Part], None], parts: Iterable[Part], threads: int) -> None:
    """Call ``run`` on every part, which must write to places of its own.

    Raises
    ------
    ValueError
        If ``threads`` is not a positive integer; and what ``run`` raises.
    """
    if positive_integer("threads", threads) == 1:
        for part in parts:
            run(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, parts))
