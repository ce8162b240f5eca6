"""The gradient noise scale during training, from gradients that training computes anyway."""

from __future__ import annotations

import functools
import math
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.hooks import RemovableHandle

from theory._validation import number, positive_integer, positive_number
from theory.noise_scale import NoiseScaleEstimate, estimate_noise_scale

Array = NDArray[np.float64]

_BLOCK = 2**18  # numbers that a CPU adds up in float32: its error is then 1e-5, not 1e-2
_NEGLIGIBLE = 1e-16  # weight of an update beside that of the last


class NoiseScaleMeter:
    r"""Measures the simple gradient noise scale :math:`\text{tr}\,C/|G|^2` during training.

    Three lines in a loop that accumulates gradients of micro-batches, or that
    ``DistributedDataParallel`` runs on several processes, or both::

        meter = NoiseScaleMeter(model, micro_batch_size)
        for step, batch in enumerate(batches):
            for inputs, targets in batch:
                (loss(model(inputs), targets) / len(batch)).backward()
                meter.micro_batch()
            meter.update()  # before clipping, before optimizer.step()
            optimizer.step()
            optimizer.zero_grad()
        print(meter.estimate().noise_scale)

    The squared norm of each micro-batch's gradient is taken as it arrives at the parameters, before
    it is accumulated or averaged over processes; that of their mean at the update. Without
    accumulation on one process there is only one batch size, and nothing is measured.

    Parameters
    ----------
    model : torch.nn.Module
        Whose parameters that require gradients are measured, wrapped or not. They may have
        hooks until :meth:`close`, or the end of a ``with`` block. Parameters may not be split over
        processes.
    batch_size : int
        Examples of one micro-batch on one process. All must have as many.
    averaged : bool
        Whether losses are divided by the number of micro-batches, as above, so that gradients add
        up to a mean. If False they add up to a sum.
    every : int
        Updates from one that is measured to the next.
    decay : float
        β in [0.5, 0.9999] of the exponential averages over measured updates, which are those of the
        last 1 / (1 - β) or so.

    Raises
    ------
    TypeError
        If ``model`` is no module.
    ValueError
        If it has no trainable parameters, or a number is out of its range.

    Notes
    -----
    Numerator and denominator are averaged one by one and then divided. The ratio of one step has no
    mean: its denominator is as often near zero as not. Weights are normalized to 1, which is the
    correction of the bias towards the start.

    In a measured update, each backward pass reads each gradient once more, while it is near, and
    the update does so once. Beside the 6 P B operations of forward and backward of B examples
    through P weights those are 2 P, or 1 / (3 B); of memory, one pass beside at least five. That is
    some 5 to 25 % of the time of a perceptron on a CPU, so that ``every=20`` keeps it near 1 %, and
    less where weights are shared, as by convolutions. Other updates have no hooks. The host waits
    for the device only in :meth:`estimate`.

    References
    ----------
    McCandlish et al., "An empirical model of large-batch training" (2018), appendix A.1
    (number from memory).

    Examples
    --------
    >>> model = nn.Linear(3, 1)
    >>> meter = NoiseScaleMeter(model, 4, every=1)
    >>> for _ in range(10):
    ...     for inputs in torch.randn(2, 4, 3):
    ...         (model(inputs).square().mean() / 2).backward()
    ...         meter.micro_batch()
    ...     meter.update()
    ...     model.zero_grad()
    >>> meter.estimate().n
    10
    """

    def __init__(
        self,
        model: nn.Module,
        batch_size: int,
        *,
        averaged: bool = True,
        every: int = 20,
        decay: float = 0.99,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        self.parameters = [part for part in model.parameters() if part.requires_grad]
        if not self.parameters:
            raise ValueError("model must have parameters that require gradients, it has none")
        self.batch_size = positive_integer("batch_size", batch_size)
        self.averaged, self.decay = bool(averaged), number("decay", decay)
        self.every = positive_integer("every", every)
        if not 0.5 <= self.decay <= 0.9999:
            raise ValueError(f"decay must be in [0.5, 0.9999], got {self.decay:g}")
        self._group = model.process_group if isinstance(model, DistributedDataParallel) else None
        self._processes = 1 if self._group is None else distributed.get_world_size(self._group)
        self._arriving = self.parameters[0].new_zeros((), dtype=torch.float64)
        self._arrivals = [0] * len(self.parameters)
        self._micro_batches = self._updates = self._measured = 0
        # A ring of the last updates: mean squared norm of the small gradients and that of the large
        # one, which stay on the device, and number of small ones on all processes.
        window = math.ceil(math.log(_NEGLIGIBLE) / math.log(self.decay))
        self._norms = self._arriving.new_zeros(window, 2)
        self._counts = np.zeros(window, dtype=np.int64)
        self._hooks: list[RemovableHandle] = []
        self._is_open = True
        self._set_hooks()

    def __enter__(self) -> NoiseScaleMeter:
        """Return the meter."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the hooks."""
        self.close()

    def close(self) -> None:
        """Remove the hooks. What was measured stays."""
        self._is_open = False
        self._set_hooks()

    @property
    def _is_measuring(self) -> bool:
        return self._is_open and self._updates % self.every == 0

    def _set_hooks(self) -> None:
        """Have hooks on the parameters if, and only if, this update is measured."""
        if self._is_measuring == bool(self._hooks):
            return
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        if self._is_measuring:
            for number, part in enumerate(self.parameters):
                arrive = functools.partial(self._arrive, number)
                self._hooks.append(part.register_hook(arrive))  # type: ignore[no-untyped-call]

    def _arrive(self, number: int, gradient: Tensor) -> None:
        self._arrivals[number] += 1
        self._arriving += _square(gradient)

    def micro_batch(self) -> None:
        """Count a micro-batch; to be called after its only backward pass.

        Raises
        ------
        ValueError
            If there was another number of backward passes than one since the last call. It is
            noticed in updates that are measured.
        """
        passes = max(self._arrivals)
        if self._is_measuring and passes != 1:
            raise ValueError(
                "micro_batch() must be called once after each backward pass, there were "
                f"{passes} since the last call"
            )
        self._arrivals = [0] * len(self.parameters)
        self._micro_batches += 1

    def update(self, *, loss_scale: float = 1.0) -> None:
        """Take the gradient that the optimizer is about to use.

        An update of one micro-batch on one process, and one whose gradients are not finite, is left
        out of the averages.

        Parameters
        ----------
        loss_scale : float
            What the losses were multiplied by against underflow, ``GradScaler.get_scale()``. To be
            called before gradients are unscaled.

        Raises
        ------
        ValueError
            If :meth:`micro_batch` was not called since the last update, or not after the last
            backward pass, or the scale is not positive.
        """
        if max(self._arrivals) or not self._micro_batches:
            raise ValueError(
                "update() must follow micro_batch(), which is called after each backward pass"
            )
        scale = positive_number("loss_scale", loss_scale)
        if self._is_measuring:
            self._measure(scale)
        self._micro_batches = 0
        self._updates += 1
        self._set_hooks()

    def _measure(self, scale: float) -> None:
        count = self._micro_batches
        gradients = [part.grad for part in self.parameters if part.grad is not None]
        large = torch.stack([_square(gradient) for gradient in gradients]).sum()
        parts = count if self.averaged else 1.0  # of the loss of a whole update
        place = self._measured % len(self._counts)
        self._norms[place, 0] = self._arriving * (parts / scale) ** 2 / count
        self._norms[place, 1] = large * (parts / count / scale) ** 2
        self._counts[place] = count * self._processes
        self._arriving.zero_()
        self._measured += 1

    def estimate(self) -> NoiseScaleEstimate:
        """Return the noise scale, averaged over the updates until now.

        Under ``DistributedDataParallel`` all processes must call it, and get the same.

        Returns
        -------
        NoiseScaleEstimate
            ``n`` is the number of measured updates that have a weight. Standard errors take these
            as independent; they are too small where the gradient changes slowly beside its noise.

        Raises
        ------
        ValueError
            If there were fewer than 2 measured updates of finite gradients and several
            micro-batches.
        """
        small, large, counts = self._history()
        squares, traces = _solved(small, large, counts, self.batch_size)
        weights = np.asarray(self.decay ** np.arange(len(squares))[::-1], dtype=np.float64)
        return _averaged(squares, traces, weights / weights.sum())

    def _history(self) -> tuple[Array, Array, NDArray[np.int64]]:
        """Return the norms of all usable updates in order, averaged over the processes."""
        window = len(self._counts)
        order = np.arange(max(0, self._measured - window), self._measured) % window
        norms = self._norms
        if self._processes > 1:
            norms = norms / self._processes
            distributed.all_reduce(norms, group=self._group)
        small, large = norms.cpu().numpy()[order].T
        counts = self._counts[order]
        usable = np.isfinite(small) & np.isfinite(large) & (counts > 1)
        if usable.sum() < 2:
            raise ValueError(
                "an estimate needs at least 2 measured updates with finite gradients of several "
                f"micro-batches or processes, there were {usable.sum()} of {self._measured}"
            )
        return small[usable], large[usable], counts[usable]


def _square(gradient: Tensor) -> Tensor:
    """Return the sum of squares of a gradient, float64, in one pass over it."""
    gradient = gradient.detach()
    if gradient.device.type != "cpu":
        norm: Tensor = torch.linalg.vector_norm(gradient, dtype=torch.float64)
        return norm.square()
    if gradient.dtype != torch.float64:
        gradient = gradient.float()
    blocks = torch.split(gradient.reshape(-1), _BLOCK)
    return torch.stack([torch.dot(block, block) for block in blocks]).sum(dtype=torch.float64)


def _solved(
    small: Array, large: Array, counts: NDArray[np.int64], batch_size: int
) -> tuple[Array, Array]:
    """Return each update's own estimates of |G|² and tr C."""
    squares, traces = np.empty_like(small), np.empty_like(small)
    for count in np.unique(counts):
        chosen = counts == count
        pairs = [np.repeat(norms[chosen, None], 2, axis=1) for norms in (small, large)]
        solved = estimate_noise_scale(
            *pairs, small_batch_size=batch_size, large_batch_size=int(count) * batch_size
        )
        squares[chosen], traces[chosen] = solved.gradient_square, solved.noise_trace
    return squares, traces


def _averaged(squares: Array, traces: Array, weights: Array) -> NoiseScaleEstimate:
    """Return the ratio of the weighted means, with errors by the delta method."""
    square, trace = float(weights @ squares), float(weights @ traces)
    ratio = trace / square if square > 0.0 else np.inf

    def error(values: Array) -> float:
        deviations = weights * (values - weights @ values)
        return float(np.sqrt(deviations @ deviations / (1.0 - weights @ weights)))

    ratio_error = error(traces - ratio * squares) / square if square > 0.0 else np.inf
    numbers = np.array([ratio, ratio_error, square, error(squares), trace, error(traces)])
    return NoiseScaleEstimate(
        noise_scale=numbers[0],
        noise_scale_error=numbers[1],
        gradient_square=numbers[2],
        gradient_square_error=numbers[3],
        noise_trace=numbers[4],
        noise_trace_error=numbers[5],
        n=len(squares),
    )
