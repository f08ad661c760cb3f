"""Child processes of networks: an image in a file, a process without network access, numbers back in a file."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from fw_gear_hndeface.errors import HndefaceError
from fw_gear_hndeface.model import Grid, Volume
from fw_gear_hndeface.ops.resample import AIR_HU, lps_grid, resample

#: Grid that networks are given, mm: along the patient axes, so that no tilt or turn of the scan reaches them.
SPACING_MM = 1.0
#: A network that takes longer than this hangs, s.
MOST_SECONDS = 4 * 3600
#: Nothing listens there: whatever a package tries to fetch or to report fails at once.
NOWHERE = "http://127.0.0.1:9"


def network_grid(volume: Volume, around: Grid) -> Grid:
    """The grid along the patient axes that a network sees: the part of the scan around a window."""
    corners, scan = around.corners(), volume.grid.corners()
    low = np.maximum(corners.min(axis=0), scan.min(axis=0))
    high = np.minimum(corners.max(axis=0), scan.max(axis=0))
    return lps_grid(np.array([low, np.maximum(high, low)]), SPACING_MM, volume.grid.frame)


def write_image(volume: Volume, grid: Grid, path: Path, *, flips: tuple[int, ...] = ()) -> None:
    """The volume on a grid along the patient axes as an image file; `flips` reverses array axes, the places stay.

    SimpleITK keeps patient coordinates whatever the format's own convention is.
    """
    array = np.rint(np.clip(resample(volume, grid, outside=AIR_HU).array, -1024, 3071)).astype(np.int16)
    image = sitk.GetImageFromArray(np.ascontiguousarray(np.flip(array, flips)))
    image.SetSpacing([float(step) for step in grid.spacing_mm[::-1]])
    last = [grid.shape[axis] - 1 if axis in flips else 0 for axis in range(3)]
    image.SetOrigin([float(value) for value in grid.to_patient(last)])
    signs = [-1.0 if axis in flips else 1.0 for axis in (2, 1, 0)]
    image.SetDirection([float(value) for value in np.diag(signs).ravel()])
    sitk.WriteImage(image, str(path))


def read_numbers(path: Path, grid: Grid, *, flips: tuple[int, ...] = ()) -> NDArray[np.uint16]:
    """Numbers that a network wrote for an image of `write_image`, (K, J, I) of the grid.

    Raises
    ------
    HndefaceError
        No file, or one of another shape.
    """
    if not path.is_file():
        raise HndefaceError("The network ended without a result. Check its weights and the memory of the machine.")
    array = np.flip(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), flips)
    if array.shape != grid.shape:
        raise HndefaceError(f"The network's result has shape {array.shape}, expected {grid.shape}.")
    return np.ascontiguousarray(array.astype(np.uint16))


def run_child(entry: str, arguments: Sequence[str], variables: Mapping[str, str], what: str) -> None:
    """Run a function of a package in a process of its own, without network access.

    Parameters
    ----------
    entry : module:function
    what : for messages, such as "TotalSegmentator task head_muscles"

    Raises
    ------
    HndefaceError
        It failed or took too long.
    """
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"), NOWHERE)
    environment = {**os.environ, **proxies, "no_proxy": "", "NO_PROXY": "", "HF_HUB_OFFLINE": "1", **variables}
    command = [sys.executable, "-m", "fw_gear_hndeface.networks.child", entry, *arguments]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        told, _ = process.communicate(timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise HndefaceError(f"{what}: not done after {MOST_SECONDS // 3600} hours; it was stopped.") from error
    finally:
        _end(process)
    if process.returncode:
        raise HndefaceError(f"{what} failed: {_reason(told, process.returncode)}.")


def has_gpu() -> bool:
    """Whether torch sees a CUDA GPU; asked in a child, so that this process need not load torch."""
    question = "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 3)"
    return subprocess.run([sys.executable, "-c", question], capture_output=True, check=False).returncode == 0


def _end(process: subprocess.Popen[str]) -> None:
    """End the child and the workers it started, if any still run."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _reason(told: str, code: int) -> str:
    """Why a child failed, by the kind of its last error: its words may hold paths."""
    if code < 0:
        return f"stopped by signal {-code}, most often for want of memory"
    if re.search(r"out of memory|MemoryError", told):
        return "out of memory"
    kinds = re.findall(r"^(?:\w+\.)*(\w+(?:Error|Exception))\b", told, re.MULTILINE)
    return f"{kinds[-1]} (exit code {code})" if kinds else f"exit code {code}"
