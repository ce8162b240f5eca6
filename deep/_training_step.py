"""One step of training: forward and backward of a batch, launched or replayed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

PRECISIONS = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.float32,
    "float64": torch.float64,
}  # the type of the parameters


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the sum over examples of -log softmax, in nats."""
    return functional.cross_entropy(outputs, labels, reduction="sum")


def squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the sum over examples of the mean squared distance from the class's unit vector."""
    targets = functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype)
    return functional.mse_loss(outputs, targets, reduction="sum") / outputs.shape[1]


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": cross_entropy,
    "squared_error": squared_error,
}


@contextlib.contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Let float32 products be of TF32 or not, as the precision says, and restore what was."""
    reduced = precision in ("tf32", "bfloat16")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if reduced and device.type == "cuda" else "highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=reduced):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


class Scorer:
    """A network with its loss, on inputs as the precision wants them."""

    def __init__(
        self,
        network: nn.Module,
        *,
        loss: str,
        precision: str,
        channels_last: bool,
        device: torch.device,
    ) -> None:
        self.network = network
        self.loss = LOSSES[loss]
        self.dtype = PRECISIONS[precision]
        self.bfloat16 = precision == "bfloat16"
        self.channels_last = channels_last
        self.device = device

    def inputs(self, values: Tensor) -> Tensor:
        """Return a batch in the type and layout of the network."""
        if self.channels_last and values.ndim == 4:
            return values.to(self.dtype, memory_format=torch.channels_last)
        return values.to(self.dtype)

    def __call__(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of the losses, and (2,): it and the number of right answers, float64."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            outputs = self.network(inputs)
            loss = self.loss(outputs, labels)
        right = (outputs.detach().argmax(1) == labels).sum()
        return loss, torch.stack([loss.detach().double(), right.double()])


class LaunchedStep:
    """Forward and backward of a batch.

    Parameters
    ----------
    scorer : Scorer
    optimizer : torch.optim.Optimizer
        Its gradients are set.
    scale : float
        The loss is the sum over the batch times ``scale`` / its size.
    keep_gradients : bool
        Leave the gradients' memory where it is, as a recorded step needs it.
    """

    def __init__(
        self, scorer: Scorer, optimizer: Optimizer, scale: float, *, keep_gradients: bool = False
    ) -> None:
        self.scorer = scorer
        self.optimizer = optimizer
        self.scale = scale
        self.keep_gradients = keep_gradients

    def __call__(self, inputs: Tensor, labels: Tensor, batch_size: int) -> Tensor:
        """Return the tally (2,) of the batch, a part of one of ``batch_size`` examples."""
        self.optimizer.zero_grad(set_to_none=not self.keep_gradients)
        loss, tally = self.scorer(inputs, labels)
        torch.autograd.backward(loss * (self.scale / batch_size))
        return tally


class RecordedStep:
    """A step that is recorded as a CUDA graph at the first full batch, and replayed from then on.

    Batches of other sizes are launched.
    """

    def __init__(self, step: LaunchedStep, batch_size: int) -> None:
        self.step = step
        self.batch_size = batch_size
        self.replay: Callable[[], None] | None = None

    def __call__(self, inputs: Tensor, labels: Tensor, batch_size: int) -> Tensor:
        """Return the tally (2,) of the batch; the next call overwrites it."""
        if len(labels) != self.batch_size:
            return self.step(inputs, labels, batch_size)
        if self.replay is None:
            self.replay = self._record(inputs, labels)
        self.inputs.copy_(inputs)
        self.labels.copy_(labels)
        self.replay()
        return self.tally

    def _record(self, inputs: Tensor, labels: Tensor) -> Callable[[], None]:
        self.inputs, self.labels = inputs.clone(), labels.clone()
        self.tally = torch.zeros(2, dtype=torch.float64, device=inputs.device)
        buffers = [(buffer, buffer.clone()) for buffer in self.step.scorer.network.buffers()]
        devices = [inputs.device] if inputs.is_cuda else []
        with torch.random.fork_rng(devices):
            replay = record(self._work)
        for buffer, before in buffers:  # the rehearsals changed running averages
            buffer.copy_(before)
        return replay

    def _work(self) -> None:
        self.tally.copy_(self.step(self.inputs, self.labels, self.batch_size))


def record(work: Callable[[], None]) -> Callable[[], None]:
    """Return what replays the work, recorded as a CUDA graph after three rehearsals."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay
