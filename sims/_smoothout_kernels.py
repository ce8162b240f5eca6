"""Kernels of :mod:`sims.smoothout`: SGD with noisy weights, and averages over the noise.

On the line, trajectories are lanes that step together. In space a trajectory steps alone, and its
noise comes from a small block of :data:`WIDTH` streams: for many steps at once, or for one if there
are many coordinates.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sims import streams
from sims.streams import LANES, jit
from theory.landscapes import LineKernels, SpaceKernels

Array = NDArray[np.float64]

WIDTH = 32  # enough for the vector unit, few enough that a trajectory of few steps stays cheap
NUMBERS = 1024  # drawn at once, if a step does not need more: they fit the first cache


class Rule(NamedTuple):
    """How a step is made, but for the strengths of its noise."""

    learning_rate: float
    momentum: float
    gradient_noise: float
    copies: int
    denoise: bool
    normal: bool


inlined = njit(nogil=True, error_model="numpy", inline="always")


@inlined
def strength_at(t: int, strengths: Array) -> float:
    """Return the strength (T,) of step t; the last one holds on."""
    return strengths[min(t, len(strengths) - 1)]  # type: ignore[no-any-return]


@jit
def fill_rows(block: Any, rows: Array, normal: bool) -> None:
    if normal:
        streams.fill_block_normals(block, rows)
    else:
        streams.fill_block_uniforms(block, rows)


# --- on the line ---------------------------------------------------------------------------------


@inlined
def lane_noise(draw: int, block: Any, rows: Array, normal: bool) -> Any:
    """Return the noise (LANES,) of a draw; ``rows`` (2, LANES) keep two, for normals are pairs."""
    if draw % 2 == 0:
        fill_rows(block, rows, normal)
    return rows[draw % 2]


@inlined
def step_lanes(
    t: int,
    weight_block: Any,
    gradient_block: Any,
    weight_rows: Array,
    gradient_rows: Array,
    x: Array,
    velocity: Array,
    rule: Rule,
    strengths: Array,
    gradient: Any,
    parameters: Any,
) -> None:
    strength, share, decay = strength_at(t, strengths), 1.0 / rule.copies, rule.momentum
    last = rule.copies - 1
    for copy in range(last):
        noise = lane_noise(t * rule.copies + copy, weight_block, weight_rows, rule.normal)
        for k in range(LANES):
            slope = gradient(x[k] + strength * noise[k], parameters)
            velocity[k] = decay * velocity[k] + share * slope
        decay = 1.0
    if rule.gradient_noise > 0.0:
        extra = lane_noise(t, gradient_block, gradient_rows, True)
        for k in range(LANES):
            velocity[k] = decay * velocity[k] + rule.gradient_noise * extra[k]
        decay = 1.0
    # One pass for the copy that every step has, and for the update.
    kept, rate = 0.0 if rule.denoise else strength, rule.learning_rate
    noise = lane_noise(t * rule.copies + last, weight_block, weight_rows, rule.normal)
    for k in range(LANES):
        slope = gradient(x[k] + strength * noise[k], parameters)
        fast = decay * velocity[k] + share * slope
        velocity[k] = fast
        x[k] += kept * noise[k] - rate * fast


@jit
def descend_line(
    weight_blocks: Any,
    gradient_blocks: Any,
    starts: Array,
    records: Array,
    rule: Rule,
    strengths: Array,
    gradient: Any,
    parameters: Any,
    every: int,
) -> None:
    weight_rows, gradient_rows = np.empty((2, LANES)), np.empty((2, LANES))
    velocity = np.empty(LANES)
    for b in range(len(starts)):
        x, weight_block, gradient_block = starts[b], weight_blocks[b], gradient_blocks[b]
        velocity[:] = 0.0
        for r in range(records.shape[1]):
            for t in range(r * every, (r + 1) * every):
                step_lanes(
                    t,
                    weight_block,
                    gradient_block,
                    weight_rows,
                    gradient_rows,
                    x,
                    velocity,
                    rule,
                    strengths,
                    gradient,
                    parameters,
                )
            records[b, r] = x


@jit
def draw(t: int, state: Any, kept: float, normal: bool) -> tuple[float, float]:
    """Return the t-th number of a stream and what is kept for the next: normals are pairs."""
    if not normal:
        return streams.to_centered_uniform(streams.next_word(state)), 0.0
    return streams.normals(state) if t % 2 == 0 else (kept, 0.0)


@jit
def arrive_on_line(
    weight_states: Any,
    gradient_states: Any,
    starts: Array,
    arrived: Any,
    reached: Any,
    rule: Rule,
    strengths: Array,
    gradient: Any,
    parameters: Any,
    steps: int,
    targets: Array,
    radius: float,
    hold: int,
) -> None:
    # Trajectories end at different times: in lanes most would wait for the last.
    share, weight_kept, gradient_kept = 1.0 / rule.copies, 0.0, 0.0
    for i in range(len(starts)):
        x, velocity, near, since = starts[i], 0.0, -1, 0
        for t in range(steps + 1):
            now = -1
            for k in range(len(targets)):
                if abs(x - targets[k]) <= radius:
                    now = k
                    break
            near, since = (near, since) if now == near else (now, t)
            if near >= 0 and t - since + 1 >= hold:
                arrived[i], reached[i] = since, near
                break
            if t < steps:
                strength, noisy = strength_at(t, strengths), x
                velocity *= rule.momentum
                for copy in range(rule.copies):
                    noise, weight_kept = draw(
                        t * rule.copies + copy, weight_states[i], weight_kept, rule.normal
                    )
                    noisy = x + strength * noise
                    velocity += share * gradient(noisy, parameters)
                if rule.gradient_noise > 0.0:
                    noise, gradient_kept = draw(t, gradient_states[i], gradient_kept, True)
                    velocity += rule.gradient_noise * noise
                x = (x if rule.denoise else noisy) - rule.learning_rate * velocity
        starts[i] = x


# --- in space ------------------------------------------------------------------------------------


@cache
def as_space(kernels: LineKernels) -> SpaceKernels:
    """Return the kernels of a landscape on the line for points of one coordinate."""
    line_value, line_gradient = kernels.value, kernels.gradient

    @jit
    def value(x: Any, p: Any) -> Any:
        return line_value(x[0], p)

    @jit
    def add_gradient(x: Any, p: Any, weight: float, out: Any) -> None:
        out[0] += weight * line_gradient(x[0], p)

    return SpaceKernels(value, add_gradient)


# A call counts references to its arrays, which costs more than a step of few coordinates: so a loop
# over steps makes no calls. Its gradient is inlined, and its noise is drawn for many steps at once.


@inlined
def target_near(x: Array, targets: Array, radius: float) -> int:
    """Return the first target (K, d) within a radius of ``x`` (d,), or -1."""
    found = -1
    for k in range(len(targets)):
        square = 0.0
        for j in range(len(x)):
            square += (x[j] - targets[k, j]) ** 2
        if found < 0 and square <= radius * radius:
            found = k
    return found


@jit
def room_for(numbers: int) -> Array:
    """Return an array (even, WIDTH) that holds so many numbers."""
    return np.empty((2 * (-(-numbers // (2 * WIDTH))), WIDTH))


@cache
def follower(add_gradient: Any) -> Any:
    """Return the loop over trajectories in a landscape whose kernels are inlined."""

    @jit
    def follow_in_space(
        weight_blocks: Any,
        gradient_blocks: Any,
        starts: Array,
        records: Array,
        arrived: Any,
        reached: Any,
        rule: Rule,
        strengths: Array,
        parameters: Any,
        steps: int,
        every: int,
        targets: Array,
        radius: float,
        hold: int,
    ) -> None:
        """Write where trajectories are after ``every`` so many steps, and stop them at a target.

        ``records`` is (n, R, d), ``targets`` (K, d); there may be none of either.
        """
        d, copies, share = starts.shape[1], rule.copies, 1.0 / rule.copies
        together = max(1, NUMBERS // (copies * d))
        weight_rows, gradient_rows = room_for(together * copies * d), room_for(together * d)
        weight_noise, gradient_noise = weight_rows.reshape(-1), gradient_rows.reshape(-1)
        noisy, velocity = np.empty(d), np.empty(d)
        for i in range(len(starts)):
            x, t, near, since = starts[i], 0, -1, 0
            velocity[:] = 0.0
            while t <= steps:
                fill_rows(weight_blocks[i], weight_rows, rule.normal)
                if rule.gradient_noise > 0.0:
                    fill_rows(gradient_blocks[i], gradient_rows, True)
                for s in range(together):
                    now = target_near(x, targets, radius)
                    near, since = (near, since) if now == near else (now, t)
                    if near >= 0 and t - since + 1 >= hold:
                        arrived[i], reached[i] = since, near
                        t = steps  # was the last: both loops end below
                    if t > 0 and t % every == 0:
                        for j in range(d):
                            records[i, t // every - 1, j] = x[j]
                    t += 1
                    if t > steps:
                        break
                    strength = strength_at(t - 1, strengths)
                    for copy in range(copies):
                        first = (s * copies + copy) * d
                        for j in range(d):
                            noisy[j] = x[j] + strength * weight_noise[first + j]
                        add_gradient(noisy, parameters, share, velocity)
                    if rule.gradient_noise > 0.0:
                        for j in range(d):
                            velocity[j] += rule.gradient_noise * gradient_noise[s * d + j]
                    if not rule.denoise:
                        for j in range(d):
                            x[j] = noisy[j]
                    for j in range(d):
                        x[j] -= rule.learning_rate * velocity[j]
                        velocity[j] *= rule.momentum

    return follow_in_space


# --- averages over the noise ---------------------------------------------------------------------

# A sample is a function (noisy, point, strength, parameters, out) of a noisy point (d,) that
# writes what is averaged to ``out``.


@cache
def value_sample(value: Any) -> Any:
    @jit
    def sample(noisy: Array, point: Array, strength: float, parameters: Any, out: Array) -> None:
        out[0] = value(noisy, parameters)

    return sample


@cache
def gradient_sample(add_gradient: Any) -> Any:
    @jit
    def sample(noisy: Array, point: Array, strength: float, parameters: Any, out: Array) -> None:
        out[:] = 0.0
        add_gradient(noisy, parameters, 1.0, out)

    return sample


@cache
def face_sample(value: Any) -> Any:
    @jit
    def sample(noisy: Array, point: Array, strength: float, parameters: Any, out: Array) -> None:
        for i in range(len(noisy)):
            inside = noisy[i]
            noisy[i] = point[i] + strength
            upper = value(noisy, parameters)
            noisy[i] = point[i] - strength
            lower = value(noisy, parameters)
            noisy[i] = inside
            out[i] = (upper - lower) / (2.0 * strength)

    return sample


@jit
def inside_box(noisy: Array, point: Array, strength: float, parameters: Any, out: Array) -> None:
    out[0] = 1.0
    for j in range(len(noisy)):
        if abs(noisy[j]) > parameters[0]:
            out[0] = 0.0
            return


@jit
def inside_ball(noisy: Array, point: Array, strength: float, parameters: Any, out: Array) -> None:
    square = 0.0
    for j in range(len(noisy)):
        square += noisy[j] * noisy[j]
    out[0] = 1.0 if square <= parameters[0] * parameters[0] else 0.0


@jit
def sample_moments(
    blocks: Any,
    points: Array,
    draws: Any,
    means: Array,
    squares: Array,
    strength: float,
    normal: bool,
    sample: Any,
    parameters: Any,
) -> None:
    """Write means (n, k) and sums of squared deviations (n, k) of ``draws`` (n,), by Welford."""
    d = points.shape[1]
    together = max(1, NUMBERS // d)
    rows, noisy, out = room_for(together * d), np.empty(d), np.empty(means.shape[1])
    noise = rows.reshape(-1)
    for i in range(len(points)):
        point, mean, square = points[i], means[i], squares[i]
        mean[:] = 0.0
        square[:] = 0.0
        n = 0
        while n < draws[i]:
            fill_rows(blocks[i], rows, normal)
            for s in range(min(together, draws[i] - n)):
                for j in range(d):
                    noisy[j] = point[j] + strength * noise[s * d + j]
                sample(noisy, point, strength, parameters, out)
                n += 1
                for j in range(len(out)):
                    step = out[j] - mean[j]
                    mean[j] += step / n
                    square[j] += step * (out[j] - mean[j])
