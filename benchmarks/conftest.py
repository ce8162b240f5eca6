"""The fixtures `against`, `seconds` and `figure`, and the table of what they found."""

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import pytest
from threadpoolctl import threadpool_limits

_ROWS = pytest.StashKey[list[tuple[str, Callable[[], str]]]]()


@pytest.fixture
def against(benchmark, request):
    """Return measure(peer, ours, …): it times ``ours`` just before each round of ``peer``.

    ``share`` is the part of ours that does the peer's work, ``target`` the smallest ratio allowed.
    """

    def measure(peer, ours, *, rounds, warmup_rounds=0, share=1.0, target=None):
        own = []

        def run_ours():
            start = time.process_time()
            ours()
            own.append((time.process_time() - start) * share)

        with threadpool_limits(1):
            ours()
            result = benchmark.pedantic(
                peer, setup=run_ours, rounds=rounds, warmup_rounds=warmup_rounds
            )
        if not benchmark.disabled:
            info = benchmark.extra_info
            info["peer"], info["ours"] = benchmark.stats["median"], median(own)
            info["ratio"] = info["peer"] / info["ours"]
            if target is not None:
                info["target"] = target
            row = partial(_ratio, request.node.name.removeprefix("test_"), info)
            request.config.stash.setdefault(_ROWS, []).append((benchmark.group, row))
        return result

    return measure


@pytest.fixture
def seconds():
    """Return measure(call, rounds, clock): the median time of a call, the first one not counted."""

    def measure(call, rounds, clock=time.process_time):
        times = []
        with threadpool_limits(1):
            call()
            for _ in range(rounds):
                start = clock()
                call()
                times.append(clock() - start)
        return median(times)

    return measure


@pytest.fixture
def figure(request):
    """Return figure(group, name, value, unit, …): a number of ours for the table, as it is.

    ``target`` is the smallest value allowed, ``most`` the largest.
    """

    def note(group, name, value, unit, *, target=None, most=None):
        row = partial(_figure, name, value, unit, target, most)
        request.config.stash.setdefault(_ROWS, []).append((group, row))

    return note


def _ratio(name, info):
    line = f"{name:62s} {info['peer']:8.4f} / {info['ours']:.4f} = {info['ratio']:6.2f}"
    line += _verdict(info["ratio"], info.get("target"))
    if "error_nats" in info:
        line += f"  error {info['error_nats']:.0e} nats"
    return line


def _figure(name, value, unit, target, most):
    line = f"{name:62s} {value:.3g} {unit}" + _verdict(value, target)
    return line if most is None else line + f"  at most {most:g}: {_said(value <= most)}"


def _verdict(value, target):
    if target is None:
        return ""
    return f"  target {target:g}: {_said(value >= target)}"


def _said(met):
    return "met" if met else "MISSED"


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash.get(_ROWS, [])
    if not rows:
        return
    terminalreporter.section("peer / ours, CPU seconds on one thread, medians in alternation")
    group = None
    for row_group, row in rows:
        if row_group != group:
            group = row_group
            terminalreporter.write_line(group)
        terminalreporter.write_line("  " + row())
