"""The `against` fixture: a peer timed in alternation with ours, and the table of ratios."""

import time
from statistics import median

import pytest
from threadpoolctl import threadpool_limits

_ROWS = pytest.StashKey[list[tuple[str, str, dict[str, float]]]]()


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
            name = request.node.name.removeprefix("test_")
            request.config.stash.setdefault(_ROWS, []).append((benchmark.group, name, info))
        return result

    return measure


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash.get(_ROWS, [])
    if not rows:
        return
    terminalreporter.section("peer / ours, CPU seconds on one thread, medians in alternation")
    group = None
    for row_group, name, info in rows:
        if row_group != group:
            group = row_group
            terminalreporter.write_line(group)
        line = f"  {name:62s} {info['peer']:8.4f} / {info['ours']:.4f} = {info['ratio']:6.2f}"
        if "target" in info:
            verdict = "met" if info["ratio"] >= info["target"] else "MISSED"
            line += f"  target {info['target']:g}: {verdict}"
        if "error_nats" in info:
            line += f"  error {info['error_nats']:.0e} nats"
        terminalreporter.write_line(line)
