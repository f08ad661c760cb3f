"""How the processes of a network hand arrays to each other."""

from __future__ import annotations

from multiprocessing.reduction import ForkingPickler
from typing import Any


def send_tensors_as_bytes() -> None:
    """Make torch's tensors travel between processes as plain bytes, in this process and in every one that imports this.

    torch puts them into shared memory, of which containers have 64 MB unless they are told otherwise: a head does not fit.
    Without torch there is nothing to do.
    """
    try:
        import torch
        import torch.multiprocessing  # its own way is registered here, and ours after it
    except ImportError:
        return
    ForkingPickler.register(torch.Tensor, _as_bytes)


def _as_bytes(tensor: Any) -> tuple[Any, tuple[Any]]:
    return _tensor, (tensor.detach().cpu().contiguous().numpy(),)


def _tensor(array: Any) -> Any:
    import torch

    return torch.from_numpy(array)
