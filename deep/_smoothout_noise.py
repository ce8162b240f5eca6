"""Noise on the parameters of one device and type, and the copy that they are restored from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NOISES = ("uniform", "normal")
_EPSILON = 1e-6  # of the official code, beside the norm of a filter's draw


class NoisyParameters:
    """Parameters of one device and type, with memory for their noise and for their clean values.

    They stay where they are in memory: whoever holds them, or recorded their addresses, need not
    know. Noise is drawn into one flat buffer, in the order of the parameters, by one call.

    Parameters
    ----------
    parameters : sequence of Tensor
    generator : torch.Generator
        If it is on another device, noise is drawn there and copied.
    """

    def __init__(self, parameters: Sequence[Tensor], generator: torch.Generator) -> None:
        self.parameters = list(parameters)
        self.generator = generator
        first, size = self.parameters[0], sum(each.numel() for each in self.parameters)
        self.clean = _views(first.new_empty(size), self.parameters)
        # Noise of 16-bit parameters has 32 bits: their sum is then all that is rounded.
        wide = torch.promote_types(first.dtype, torch.float32)
        self.flat = first.new_empty(size, dtype=wide)
        self.noise = _views(self.flat, self.parameters)
        here = generator.device == first.device
        self.drawn = self.flat if here else torch.empty_like(self.flat, device=generator.device)
        self.is_noisy = False
        self.stamps: list[tuple[int, int]] = []  # as the parameters are while they are noisy

    @torch.no_grad()
    def add(self, strength: float, *, law: str, adaptive: bool) -> None:
        """Keep a copy of the parameters, and add noise to them."""
        torch._foreach_copy_(self.clean, self.parameters)
        self.is_noisy = True
        size = 1.0 if adaptive else strength
        if law == "uniform":
            self.drawn.uniform_(-size, size, generator=self.generator)
        else:
            self.drawn.normal_(0.0, size, generator=self.generator)
        if self.drawn is not self.flat:
            self.flat.copy_(self.drawn)
        if adaptive:
            self._follow_filters(strength)
        torch._foreach_add_(self.parameters, self.noise)
        self.stamps = [_stamp(each) for each in self.parameters]

    def _follow_filters(self, strength: float) -> None:
        r"""Turn a draw u into :math:`a\,\|w_f\|\,u_f / (\|u_f\| + \varepsilon)`."""
        lengths = [_filter_norms(each, self.flat.dtype) for each in self.noise]
        scales = [_filter_norms(each, self.flat.dtype) for each in self.parameters]
        torch._foreach_add_(lengths, _EPSILON)
        torch._foreach_mul_(scales, strength)
        torch._foreach_div_(scales, lengths)
        torch._foreach_mul_(self.noise, scales)

    @torch.no_grad()
    def restore(self) -> int:
        """Copy clean values back if there is noise; return how many parameters changed under it."""
        changed = 0
        if self.is_noisy:
            for part, stamp, clean in zip(self.parameters, self.stamps, self.clean, strict=False):
                changed += _stamp(part) != stamp
                if part.data_ptr() != stamp[1]:  # it may have another shape or type by now
                    part.data = clean.clone()
            torch._foreach_copy_(self.parameters, self.clean)
        self.stamps, self.is_noisy = [], False
        return changed

    @torch.no_grad()
    def check_room(self, strength: float, *, adaptive: bool) -> None:
        """Raise ValueError if noise of this size would change no weight, or make one infinite."""
        for part in self.parameters:
            values = part.to(self.flat.dtype)
            reach = torch.full_like(values, strength)
            if adaptive:
                reach *= _filter_norms(values, values.dtype)
            noisy = (values + torch.copysign(reach, values)).to(part.dtype)
            name = f"the parameter of shape {tuple(part.shape)}"
            if not noisy.isfinite().all():
                raise ValueError(
                    f"{name} has no room for noise of strength {strength:g}: with it, it has NaN "
                    f"or values beyond the range of {part.dtype}"
                )
            if reach.any() and torch.equal(noisy, part):
                raise ValueError(
                    f"{name} has no room for noise of strength {strength:g}, which the rounding of "
                    f"{part.dtype} swallows: take a larger strength, exclude it, or keep weights "
                    "in float32 under torch.autocast"
                )


def _views(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return pieces of a flat tensor, one after the other, of the shapes and layouts of others."""
    views, start = [], 0
    for each in like:
        strides = torch.empty_like(each, device="meta").stride()
        views.append(flat.as_strided(each.shape, strides, start))
        start += each.numel()
    return views


def _stamp(part: Tensor) -> tuple[int, int]:
    """Return what differs after a change: the count of changes in place, and the address."""
    return part._version, part.data_ptr()


def _filter_norms(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the norm of every slice along the first axis, in a shape that broadcasts."""
    if tensor.ndim < 2:
        return tensor.to(dtype).abs()
    axes = tuple(range(1, tensor.ndim))
    norms: Tensor = torch.linalg.vector_norm(tensor, dim=axes, keepdim=True, dtype=dtype)
    return norms
