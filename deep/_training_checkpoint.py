"""Checkpoints: the whole state of a training run in one file, and of which run it is."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deep.loader import DeviceDataset
from store.files import checksum, write_atomically

# The last line of a file, as in store.results; torch.load ignores what follows a file's own end.
_SEAL = b"\nsha256 "
_SEAL_SIZE = len(_SEAL) + 64


def save(path: Path, state: Mapping[str, Any], study: Mapping[str, Any]) -> None:
    """Write the state of a study's run, replacing an older one in one step.

    Raises
    ------
    OSError
        If it cannot be written, say because the disk is full; the older file is then untouched.
    """
    buffer = io.BytesIO()
    torch.save({"study": dict(study), "state": dict(state)}, buffer)
    body = buffer.getvalue()
    try:
        write_atomically(path, body + _seal(body))
    except OSError as error:
        error.add_note(f"the checkpoint {path} could not be written; what stood there is untouched")
        raise


def load(path: Path, study: Mapping[str, Any], device: torch.device) -> dict[str, Any] | None:
    """Return the state that was saved, or None if there is no file.

    Raises
    ------
    ValueError
        If the file is damaged, or the checkpoint of another study; it names what differs.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    body = content[:-_SEAL_SIZE]
    if content[-_SEAL_SIZE:] != _seal(body):
        raise ValueError(f"{path} is damaged or no checkpoint: its checksum differs")
    saved: dict[str, Any] = torch.load(io.BytesIO(body), map_location=device, weights_only=True)
    for name, there, here in _differences(saved["study"], study):
        raise ValueError(
            f"{path} is the checkpoint of another study: {name} is {there} there and {here} here"
        )
    state: dict[str, Any] = saved["state"]
    return state


def architecture(model: nn.Module) -> str:
    """Return a digest of a model's layers, parameters and buffers, but not of their values."""
    shapes = [(name, tuple(part.shape)) for name, part in model.state_dict().items()]
    return checksum(f"{model}{shapes}".encode())[:16]


def content(data: DeviceDataset) -> dict[str, Any]:
    """Return digests of a data set's inputs and labels, and how they are preprocessed."""
    return {
        "inputs": _digest(data.inputs),
        "labels": _digest(data.labels),
        "n_classes": data.n_classes,
        "max_value": data.max_value,
        "preprocessing": repr(data.preprocessing),
    }


def _digest(tensor: Tensor) -> str:
    raw = tensor.contiguous().cpu().view(torch.uint8).numpy().tobytes()
    header = f"{tensor.dtype}{tuple(tensor.shape)}"
    return checksum(header.encode() + checksum(raw).encode())[:16]


def _differences(there: Any, here: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        return [
            difference
            for key in sorted({*there, *here})
            for difference in _differences(
                there.get(key, "absent"), here.get(key, "absent"), f"{name}.{key}" if name else key
            )
        ]
    return [] if there == here else [(name, there, here)]


def _seal(body: bytes) -> bytes:
    return _SEAL + checksum(body).encode()
