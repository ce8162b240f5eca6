"""Kernels of :mod:`sims.sde`: how paths step, many of them at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sims import streams
from sims.streams import LANES, jit

Array = NDArray[np.float64]


@jit
def euler(
    x: float, z: float, h: float, root_h: float, drift: Any, diffusion: Any, parameters: Any
) -> float:
    return x + h * drift(x, parameters) + z * (root_h * diffusion(x, parameters))  # type: ignore[no-any-return]


@jit
def platen(
    x: float, z: float, h: float, root_h: float, drift: Any, diffusion: Any, parameters: Any
) -> float:
    """Step by Platen's explicit scheme of weak order 2 (Kloeden & Platen 1992, 15.1.1)."""
    a, b = drift(x, parameters), diffusion(x, parameters)
    ahead = x + h * a
    above = diffusion(ahead + root_h * b, parameters)
    below = diffusion(ahead - root_h * b, parameters)
    return (  # type: ignore[no-any-return]
        x
        + 0.5 * h * (a + drift(ahead + root_h * z * b, parameters))
        + 0.25 * root_h * (z * (above + below + 2.0 * b) + (above - below) * (z * z - 1.0))
    )


# One step of a block of lanes. ``words`` (LANES,) and ``z`` (2, LANES) keep what is drawn for
# several steps at a time: normals come in pairs, a word holds 64 signs or two three-point numbers.


@jit
def move_normal(
    t: int,
    block: Any,
    words: Any,
    z: Array,
    x: Array,
    h: float,
    step: Any,
    drift: Any,
    diffusion: Any,
    parameters: Any,
) -> None:
    if t % 2 == 0:
        streams.fill_lane_normals(block, z[0], z[1])
    root_h, now = np.sqrt(h), z[t % 2]
    for k in range(LANES):
        x[k] = step(x[k], now[k], h, root_h, drift, diffusion, parameters)


@jit
def move_sign(
    t: int,
    block: Any,
    words: Any,
    z: Array,
    x: Array,
    h: float,
    step: Any,
    drift: Any,
    diffusion: Any,
    parameters: Any,
) -> None:
    if t % 64 == 0:
        streams.fill_lane_words(block, words)
    root_h, used = np.sqrt(h), np.uint64(t % 64)
    for k in range(LANES):
        x[k] = step(
            x[k], streams.to_sign(words[k] >> used), h, root_h, drift, diffusion, parameters
        )


@jit
def move_three_point(
    t: int,
    block: Any,
    words: Any,
    z: Array,
    x: Array,
    h: float,
    step: Any,
    drift: Any,
    diffusion: Any,
    parameters: Any,
) -> None:
    if t % 2 == 0:
        streams.fill_lane_words(block, words)
    root_h, used = np.sqrt(h), np.uint64(32 * (t % 2))
    for k in range(LANES):
        x[k] = step(
            x[k], streams.to_three_point(words[k] >> used), h, root_h, drift, diffusion, parameters
        )


@jit
def follow_paths(
    block_streams: Any,
    starts: Array,
    records: Array,
    move: Any,
    step: Any,
    drift: Any,
    diffusion: Any,
    parameters: Any,
    h: float,
    steps: int,
    every: int,
) -> None:
    words, z = np.empty(LANES, np.uint64), np.empty((2, LANES))
    for b in range(len(starts)):
        x = starts[b]
        for t in range(steps):
            move(t, block_streams[b], words, z, x, h, step, drift, diffusion, parameters)
            if (t + 1) % every == 0:
                records[b, (t + 1) // every - 1] = x


@jit
def count_occupation(
    block_streams: Any,
    starts: Array,
    below: Array,
    move: Any,
    step: Any,
    drift: Any,
    diffusion: Any,
    parameters: Any,
    h: float,
    burn_in: int,
    steps: int,
    edges: Array,
) -> None:
    words, z = np.empty(LANES, np.uint64), np.empty((2, LANES))
    for b in range(len(starts)):
        x = starts[b]
        for t in range(burn_in + steps):
            move(t, block_streams[b], words, z, x, h, step, drift, diffusion, parameters)
            if t >= burn_in:
                for e in range(len(edges)):
                    edge, counts = edges[e], below[b, e]
                    for k in range(LANES):
                        counts[k] += 1.0 if x[k] < edge else 0.0


@jit
def follow_to_exits(
    states: Any,
    starts: Array,
    taken: Any,
    exits: Any,
    drift: Any,
    diffusion: Any,
    parameters: Any,
    h: float,
    max_steps: int,
    ends: tuple[float, float],
) -> None:
    # Paths end at different times: in lanes most would wait for the last.
    root_h, z = np.sqrt(h), (0.0, 0.0)
    for i in range(len(starts)):
        x = starts[i]
        for t in range(max_steps):
            if t % 2 == 0:
                z = streams.normals(states[i])
            x = euler(x, z[t % 2], h, root_h, drift, diffusion, parameters)
            if not ends[0] < x < ends[1]:
                taken[i], exits[i] = t + 1, -1 if x <= ends[0] else 1
                break
        starts[i] = x


@jit
def fill_rows(states: Any, out: Array) -> None:
    for i in range(len(out)):
        streams.fill_normals(states[i], out[i])


@jit
def follow_space_paths(
    states: Any,
    starts: Array,
    records: Array,
    drift: Any,
    diffusion: Any,
    parameters: Any,
    h: float,
    steps: int,
    every: int,
) -> None:
    n, d = starts.shape
    a, b, z = np.empty(d), np.empty(d), np.empty(d)
    root_h = np.sqrt(h)
    for i in range(n):
        x = starts[i]
        for t in range(steps):
            drift(x, parameters, a)
            diffusion(x, parameters, b)
            streams.fill_normals(states[i], z)
            for j in range(d):
                x[j] += h * a[j] + root_h * b[j] * z[j]
            if (t + 1) % every == 0:
                for j in range(d):
                    records[i, (t + 1) // every - 1, j] = x[j]
