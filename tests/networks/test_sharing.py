"""nnU-Net's workers hand their arrays on without shared memory, of which a container has next to none."""

from __future__ import annotations

import json
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.slow

#: Run as nnU-Net runs in the child: a spawned worker puts a tensor on a managed queue, with shared memory taken away.
WORKER = """
import json, multiprocessing
import torch

def send(queue):
    def no_room(*_):
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")
    torch.UntypedStorage._share_fd_cpu_ = torch.UntypedStorage._share_filename_cpu_ = no_room
    queue.put({"data": torch.arange(24.0).reshape(2, 3, 4)})

def main():
    context = multiprocessing.get_context("spawn")
    queue = multiprocessing.Manager().Queue()
    worker = context.Process(target=send, args=(queue,), daemon=True)
    worker.start()
    worker.join()
    open("told.json", "w").write(json.dumps(queue.get(timeout=5)["data"].tolist()))
"""


def test_a_worker_without_shared_memory_sends_its_tensor_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    command = [sys.executable, "-m", "fw_gear_hndeface.networks.child", "worker:main"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "told.json").read_text()) == np.arange(24.0).reshape(2, 3, 4).tolist()


def test_torch_alone_would_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> None:
        raise RuntimeError("No space left on device (28)")

    for name in ("_share_fd_cpu_", "_share_filename_cpu_"):
        monkeypatch.setattr(torch.UntypedStorage, name, no_room)
    with pytest.raises(RuntimeError, match="No space left"):
        ForkingPickler.dumps(torch.arange(6.0))
