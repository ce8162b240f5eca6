"""The processes that train one network together: one alone, or those that torchrun started."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True, slots=True)
class Processes:
    """A process among those that train together.

    Attributes
    ----------
    rank, size : int
    device : torch.device
        The process's own.
    """

    rank: int
    size: int
    device: torch.device

    def share(self, n: int) -> slice:
        """Return which of a batch of n examples are this process's: even to within one."""
        return slice(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def total(self, tensor: Tensor) -> Tensor:
        """Return the sum over the processes."""
        if self.size > 1:
            tensor = tensor.clone()
            distributed.all_reduce(tensor)
        return tensor

    def parallel(self, model: nn.Module) -> nn.Module:
        """Return the model with its gradients averaged over the processes."""
        if self.size == 1:
            return model
        devices = None if self.device.type == "cpu" else [self.device]
        return DistributedDataParallel(model, device_ids=devices)

    def equalize(self, buffers: Iterable[Tensor]) -> None:
        """Give every process the buffers of the first one."""
        if self.size > 1:
            for buffer in buffers:
                distributed.broadcast(buffer, 0)


def join(device: torch.device | str | None) -> Processes:
    """Return this process, which joins the others if torchrun's environment says there are any.

    On CUDA every process takes the device of its number on its machine, whatever ``device`` says.
    """
    own = torch.empty(0, device=device).device  # which has an index, as "cuda" alone has not
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size > 1:
        if own.type == "cuda":
            own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(own)
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if own.type == "cuda" else "gloo")
            atexit.register(distributed.destroy_process_group)
        return Processes(distributed.get_rank(), distributed.get_world_size(), own)
    return Processes(0, 1, own)
