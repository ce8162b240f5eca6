"""SmoothOut and AdaSmoothOut as optimizers around any of torch's."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from deep._smoothout_noise import NOISES, NoisyParameters
from theory._validation import nonnegative_number, positive_integer, positive_number

Closure = Callable[[], Any]
Schedule = Callable[[int], float]

_ENTRY = "smoothout"  # of a state_dict, beside the inner optimizer's own


class SmoothOut(Optimizer):
    r"""An optimizer that takes gradients at noisy weights, and moves the weights without noise.

    Six lines in a loop of your own::

        optimizer = SmoothOut(optimizer, model, strength=0.05)
        for inputs, targets in batches:
            optimizer.zero_grad()
            with optimizer.perturbed():
                loss(model(inputs), targets).backward()
            optimizer.step()

    Noise is drawn each time that the weights are perturbed, so that of several micro-batches, each
    in its own ``with``, each has its own. Clip gradients after the ``with``. A learning-rate
    scheduler takes this optimizer or the inner one; give ``GradScaler`` and all else this one.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any one, of parameters on the device where they will be trained. Those that do not require
        gradients get no noise.
    model : torch.nn.Module, optional
        Whose batch normalization gets no noise on its weights and biases, wrapped or not.
    strength : float
        a > 0: half the width of uniform noise, the standard deviation of normal noise, or, if
        ``adaptive``, a share of each filter's norm.
    adaptive : bool
        Whether the noise of a filter f, a slice along the first axis, is
        :math:`a\,\|w_f\|\,u_f/(\|u_f\| + 10^{-6})` with u uniform on [-1, 1] or standard normal. A
        bias is filters of one weight: its noise is :math:`\pm a|w|`.
    noise : {"uniform", "normal"}
        The law. At equal strength, normal noise has three times the variance, as in the official
        code: ``strength=a / 3**0.5`` matches uniform noise of strength a. Adaptive noise is as
        long under both.
    copies : int
        K: at how many noisy copies a step averages the gradient. More than 1 need a closure.
    schedule : callable, optional
        Of the number of steps done; what it returns, not negative, multiplies the strength.
    exclude : iterable of Tensor, optional
        More parameters that get no noise. Without ``model`` it is required, since batch
        normalization is then not known: ``exclude=()`` adds noise to all.
    generator : torch.Generator or int
        Draws the noise; on another device than the parameters', it is copied from there. Or the
        seed of one on the first parameter's device.

    Attributes
    ----------
    optimizer : torch.optim.Optimizer
        The inner one, whose ``param_groups`` and ``state`` are shared.
    strength : float
        May be set at any time.
    steps : int
        Done so far.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If a number is out of its range, the law is unknown, neither ``model`` nor ``exclude`` is
        given, the model has none of the optimizer's parameters, none is left, one is complex, or
        one has *no room*: adding the strength to it changes none of its weights, as the rounding of
        bfloat16 may have it, or takes one out of range.

    Warnings
    --------
    Batch normalization gathers its running statistics at noisy weights. Before the network is used,
    estimate them again at the clean ones: ``torch.optim.swa_utils.update_bn(loader, model)``.

    The update of adaptive noise is not the gradient of :math:`E\,C(w + \theta(w))`: the derivative
    of the noise is left out, as in the official code. See
    :func:`theory.smoothout.adaptive_products`.

    Notes
    -----
    *Processes.* Under ``DistributedDataParallel`` the same seed on each process, as by default, is
    one draw for the whole batch. ``generator=seed + rank`` gives each its own, so that the mean
    gradient is over as many copies; averaging copies weakens the gradient noise. Both keep the
    weights of all processes equal.

    *Cost.* For m weights and one draw a step: m numbers, drawn by one call, and nine passes over m
    numbers, which is 36 m bytes in float32, beside at least 6 B m operations of forward and
    backward of B examples. On a CPU four fifths of it is the drawing. Memory: two more copies of
    the weights. The host waits for the device once a step, to see whether gradients are finite.

    *Bits.* Weights are restored from a copy, in place. Uniform noise on a CPU is what a loop over
    the parameters would draw, ``torch.empty_like(p).uniform_(-a, a, generator=generator)``; that of
    16-bit weights is drawn in float32, added, and rounded with the weight.

    *What is noticed.* A parameter that changes while it is noisy, but not one that changes through
    ``.data`` in place. A backward pass after the ``with`` of its forward pass, by torch itself.

    References
    ----------
    Wen et al. (2018), SmoothOut; noise, schedules and exclusion as in the official code.

    Examples
    --------
    >>> import torch
    >>> from torch.nn.functional import mse_loss
    >>> from deep.smoothout import SmoothOut
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Linear(2, 1)
    >>> batches = [(torch.randn(8, 2), torch.zeros(8, 1)) for _ in range(100)]
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> optimizer = SmoothOut(optimizer, model, strength=0.05)
    >>> for inputs, targets in batches:
    ...     optimizer.zero_grad()
    ...     with optimizer.perturbed():
    ...         mse_loss(model(inputs), targets).backward()
    ...     optimizer.step()
    >>> bool(mse_loss(model(inputs), targets) < 0.01)
    True

    With a closure, and the gradients of four noisy copies in one step:

    >>> optimizer = SmoothOut(optimizer.optimizer, model, strength=0.05, copies=4)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = mse_loss(model(inputs), targets)
    ...     loss.backward()
    ...     return loss
    >>> bool(optimizer.step(closure) < 0.01)
    True
    """

    def __init__(
        self,
        optimizer: Optimizer,
        model: nn.Module | None = None,
        *,
        strength: float,
        adaptive: bool = False,
        noise: str = "uniform",
        copies: int = 1,
        schedule: Schedule | None = None,
        exclude: Iterable[Tensor] | None = None,
        generator: torch.Generator | int = 0,
    ) -> None:
        if not isinstance(optimizer, Optimizer) or isinstance(optimizer, SmoothOut):
            raise TypeError(
                "optimizer must be a torch.optim.Optimizer that is not smoothed yet, got "
                f"{type(optimizer).__name__}"
            )
        if not (model is None or isinstance(model, nn.Module)):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        if model is None and exclude is None:
            raise ValueError(
                "model must be given, so that its batch normalization can be left out, or exclude: "
                "exclude=() adds noise to every parameter"
            )
        if noise not in NOISES:
            raise ValueError(f"noise must be one of {', '.join(NOISES)}, got {noise!r}")
        if not (schedule is None or callable(schedule)):
            raise TypeError(
                f"schedule must be a function of the step, got {type(schedule).__name__}"
            )
        self.optimizer = optimizer
        self.model = model
        self.strength = positive_number("strength", strength)
        self.adaptive, self.noise = bool(adaptive), noise
        self.copies = positive_integer("copies", copies)
        self.schedule = schedule
        self.steps = 0
        self._exclude = _parameters("exclude", () if exclude is None else exclude)
        self._quiet: set[Tensor] = set()
        self._draws = 0  # since the last step
        self._groups: list[NoisyParameters] = []
        self._layout: list[Any] = []
        super().__setstate__({})  # its hooks; groups and state are those of the inner optimizer
        self._find_quiet()
        self._check_model()
        self.generator = _generator(generator, self._chosen()[0].device)
        self._prepare()

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The inner optimizer's."""
        return self.optimizer.param_groups

    @property
    def state(self) -> Any:  # type: ignore[override]
        """The inner optimizer's."""
        return self.optimizer.state

    @property
    def defaults(self) -> dict[str, Any]:  # type: ignore[override]
        """The inner optimizer's."""
        return self.optimizer.defaults

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied: all but the name under which schedulers wrap :meth:`step`."""
        return {name: value for name, value in vars(self).items() if name != "step"}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters to the inner optimizer; they get noise from the next draw on."""
        self.optimizer.add_param_group(param_group)
        self._find_quiet()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear all gradients."""
        self.optimizer.zero_grad(set_to_none)

    # --- noise ------------------------------------------------------------------------------------

    def perturb(self) -> None:
        """Add noise to the weights, until :meth:`restore`.

        Raises
        ------
        RuntimeError
            If they are noisy already; they are clean then.
        ValueError
            If the schedule's value is negative or not finite, or a new parameter has no room.
        """
        if self._is_noisy:
            self._refuse("perturb() must not be nested: the weights were noisy already")
        strength = self._current_strength()
        self._prepare()
        try:
            for group in self._groups:
                group.add(strength, law=self.noise, adaptive=self.adaptive)
        except BaseException:
            self._restore()
            raise
        torch.clear_autocast_cache()  # which knows parameters by their address
        self._draws += 1

    def restore(self) -> None:
        """Give the weights the values that they had before :meth:`perturb`, bit for bit.

        Raises
        ------
        RuntimeError
            If they are not noisy, or were changed since: the change is lost.
        """
        if not self._is_noisy:
            raise RuntimeError("restore() must follow perturb(): the weights are not noisy")
        changed = self._restore()
        if changed:
            raise RuntimeError(
                f"{changed} parameters were changed between perturb() and restore(), which is "
                "undone: step(), load_state_dict() and the like must wait for clean weights"
            )

    @contextlib.contextmanager
    def perturbed(self) -> Iterator[None]:
        """Have noise on the weights in a ``with`` block, whatever ends it."""
        self.perturb()
        try:
            yield
        except BaseException:
            if self._is_noisy:
                self._restore()
            raise
        self.restore()

    @property
    def _is_noisy(self) -> bool:
        return any(group.is_noisy for group in self._groups)

    def _restore(self) -> int:
        changed = sum(group.restore() for group in self._groups)
        torch.clear_autocast_cache()
        return changed

    def _refuse(self, why: str) -> NoReturn:
        self._restore()
        raise RuntimeError(f"{why}; they are restored now")

    def _current_strength(self) -> float:
        factor = 1.0 if self.schedule is None else self.schedule(self.steps)
        strength = positive_number("strength", self.strength)
        return strength * nonnegative_number("the schedule's value", factor)

    def _prepare(self) -> None:
        """Have memory for the parameters as they are now, which may have moved or multiplied."""
        chosen = self._chosen()
        layout = [(id(p), p.device, p.dtype, p.shape, p.stride()) for p in chosen]
        if layout == self._layout:
            return
        parts: dict[Any, list[Tensor]] = {}
        for each in chosen:
            parts.setdefault((each.device, each.dtype), []).append(each)
        groups = [NoisyParameters(part, self.generator) for part in parts.values()]
        for group in groups:
            group.check_room(self.strength, adaptive=self.adaptive)
        self._groups, self._layout = groups, layout

    def _chosen(self) -> list[Tensor]:
        """Return the parameters that get noise."""
        every = self._trained()
        chosen = [p for p in every if p.requires_grad and p.numel() and p not in self._quiet]
        if not chosen:
            raise ValueError(
                f"no parameter is left to perturb: all {len(every)} of the optimizer are excluded, "
                "empty or do not require gradients"
            )
        for each in chosen:
            if not each.is_floating_point():
                raise ValueError(f"parameters must be real, got {each.dtype}: exclude them")
        return chosen

    def _find_quiet(self) -> None:
        """Find the parameters that get no noise."""
        self._quiet = set(self._exclude)
        for module in () if self.model is None else self.model.modules():
            if isinstance(module, _BatchNorm):
                self._quiet.update(module.parameters(recurse=False))

    def _check_model(self) -> None:
        """Raise ValueError for the model of other parameters, such as a copy."""
        if self.model is not None and not {*self.model.parameters()} & {*self._trained()}:
            raise ValueError(
                "model must be the one that the optimizer trains, it has none of its parameters"
            )

    def _trained(self) -> list[Tensor]:
        return [each for group in self.param_groups for each in group["params"]]

    # --- steps ------------------------------------------------------------------------------------

    def step(self, closure: Closure | None = None) -> Any:
        """Let the inner optimizer make a step from the gradients at noisy weights.

        Parameters
        ----------
        closure : callable, optional
            Clears gradients, computes the loss and its gradients, and returns the loss. It is
            called with noise on the weights, once for each copy and each time that the inner
            optimizer asks for it; noise is drawn anew for each.

        Returns
        -------
        object
            What the inner optimizer returns: with a closure the loss, a mean over copies.

        Raises
        ------
        RuntimeError
            If the weights are noisy; without a closure, if they were not since the last step, or
            if there are to be several copies.
        FloatingPointError
            If a gradient is not finite. No step is made.
        """
        if self._is_noisy:
            self._refuse("step() must follow restore(): the weights were noisy")
        result: Any
        if closure is None:
            self._check_draws()
            self._check_gradients()
            result = self.optimizer.step()
        else:
            result = self.optimizer.step(functools.partial(self._evaluate, closure))
        self.steps += 1
        self._draws = 0
        return result

    def _evaluate(self, closure: Closure) -> Any:
        """Call the closure at noisy weights; leave the mean of its gradients, return its loss's."""
        losses: list[Any] = []
        sums: dict[Tensor, Tensor] = {}
        for _ in range(self.copies):
            with self.perturbed():
                losses.append(closure())
            if self.copies > 1:
                self._move_gradients(sums)
        for part, total in sums.items():
            part.grad = total.div_(self.copies)
        self._check_gradients()
        return losses[0] if self.copies == 1 or losses[0] is None else sum(losses) / self.copies

    def _move_gradients(self, sums: dict[Tensor, Tensor]) -> None:
        """Add the gradients to sums, and clear them."""
        for part in self._trained():
            if part.grad is None:
                continue
            sums[part] = sums[part].add_(part.grad) if part in sums else part.grad.clone()
            part.grad = None

    def _check_draws(self) -> None:
        if self.copies > 1:
            raise RuntimeError(
                f"step() needs a closure to average {self.copies} copies; without one, perturb for "
                "each copy, divide the losses by their number, and leave copies=1"
            )
        if not self._draws:
            raise RuntimeError(
                "step() without a closure must follow perturb(), backward passes and restore(): "
                "there was no noise since the last step"
            )

    def _check_gradients(self) -> None:
        gradients = [_values(p.grad) for p in self._trained() if p.grad is not None]
        # The norm is the fastest look at all of them, but may overflow where they do not.
        if nn.utils.get_total_norm(gradients).isfinite():
            return
        if not all(bool(each.isfinite().all()) for each in gradients):
            raise FloatingPointError(
                f"gradients at noisy weights are not finite, at strength "
                f"{self._current_strength():g} in step {self.steps}: the weights are restored, and "
                "no step was made. Take less noise or smaller steps"
            )

    # --- state ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the inner optimizer's state, and under ``"smoothout"`` the generator's and steps.

        The inner optimizer can load it as well. Strength, law and schedule are not in it.

        Raises
        ------
        RuntimeError
            If the weights are noisy; they are clean then.
        """
        if self._is_noisy:
            self._refuse("state_dict() must follow restore(): the weights were noisy")
        own = {"generator": self.generator.get_state(), "steps": self.steps}
        return {**self.optimizer.state_dict(), _ENTRY: own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state, bit for bit.

        Raises
        ------
        RuntimeError
            If the weights are noisy; they are clean then.
        ValueError
            If the state is that of another optimizer, or of a generator on another kind of device.
        """
        if self._is_noisy:
            self._refuse("load_state_dict() must follow restore(): the weights were noisy")
        if _ENTRY not in state_dict:
            raise ValueError(
                f"state_dict must have an entry {_ENTRY!r}, got {sorted(state_dict)}: a plain "
                "optimizer's state is for the inner one, .optimizer.load_state_dict()"
            )
        own = state_dict[_ENTRY]
        words = own["generator"].cpu()
        if words.shape != self.generator.get_state().shape:
            raise ValueError(
                f"state_dict must be of a generator like this one, on {self.generator.device}: its "
                f"state has {len(words)} bytes instead of {len(self.generator.get_state())}"
            )
        self.optimizer.load_state_dict(state_dict)
        self.generator.set_state(words)
        self.steps = int(own["steps"])
        self._draws = 0


class AdaSmoothOut(SmoothOut):
    r""":class:`SmoothOut` with noise that follows the filters: ``adaptive=True``.

    A filter that is multiplied by a number has its noise multiplied too, so that a network whose
    filters are rescaled without a change of its function is smoothed as before. A strength of a is
    about that of plain noise of :math:`a\sqrt3` times the root mean square of a filter's weights.

    Parameters
    ----------
    optimizer, model, strength, **options
        As :class:`SmoothOut` takes them.

    Raises
    ------
    TypeError, ValueError
        As :class:`SmoothOut`.

    References
    ----------
    Wen et al. (2018), version 3: AdaSmoothOut; noise as in the official code.

    Examples
    --------
    >>> import torch
    >>> from deep.smoothout import AdaSmoothOut
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> optimizer = AdaSmoothOut(optimizer, model, strength=0.5)
    >>> clean = model.weight.detach().clone()
    >>> with optimizer.perturbed():
    ...     share = (model.weight.detach() - clean).norm() / clean.norm()
    >>> round(float(share), 4)
    0.5
    """

    def __init__(
        self,
        optimizer: Optimizer,
        model: nn.Module | None = None,
        *,
        strength: float,
        **options: Any,
    ) -> None:
        super().__init__(optimizer, model, strength=strength, adaptive=True, **options)


def _parameters(name: str, values: Iterable[Tensor]) -> list[Tensor]:
    if isinstance(values, Tensor) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be an iterable of parameters, got {type(values).__name__}")
    parameters = list(values)
    for each in parameters:
        if not isinstance(each, Tensor):
            raise TypeError(f"{name} must hold parameters, got {type(each).__name__}")
    return parameters


def _generator(generator: torch.Generator | int, device: torch.device) -> torch.Generator:
    if isinstance(generator, torch.Generator):
        return generator
    seed = positive_integer("generator, if it is a seed,", generator, minimum=0)
    return torch.Generator(device).manual_seed(seed)


def _values(gradient: Tensor) -> Tensor:
    return gradient.coalesce().values() if gradient.is_sparse else gradient
