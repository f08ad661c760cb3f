"""Every method on one head, and beside ours the published code where it can be installed.

Timed is what a method does once the face is found and what must stay is known: propose, take away what is kept, apply. Of the
published code, the call on arrays that are read already.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benches.processes import table
from fw_gear_hndeface.casework import protect
from fw_gear_hndeface.doors import keep_memory
from fw_gear_hndeface.errors import HndefaceError
from fw_gear_hndeface.evaluate.studies import Head, first_head
from fw_gear_hndeface.methods import REGISTRY, Scene
from fw_gear_hndeface.model import Grid, Mask, Volume
from fw_gear_hndeface.ops.polygons import rasterise
from fw_gear_hndeface.settings import Settings

Timed = dict[str, Any]
HEAD = ("", "method", "propose, CPU s", "plan, CPU s", "apply, CPU s", "all, CPU s", "all, wall s", "changed, mL")
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def run(study: Path, rounds: int) -> list[Timed]:
    """Medians of each method's times over so many rounds; ours by the scan alone, whatever is drawn on it."""
    keep_memory()  # as the command line does
    with tempfile.TemporaryDirectory() as work:
        head = first_head([study], Path(work))
    if head is None:
        raise SystemExit("There is no face in the study.")
    bare = replace(head, case=replace(head.case, rois=(), labels=()))
    calls: list[tuple[str, str, Callable[[], Timed]]] = []
    for name, method in REGISTRY.items():
        if not method.needs and method.missing() is None:
            calls.append(("ours", name, _ours(bare, name)))
    calls += [("published", "quickshear 1.2", call) for call in (_quickshear(head),) if call is not None]
    rows: dict[tuple[str, str], list[Timed]] = {}
    for _ in range(rounds):
        for whose, name, call in calls:
            rows.setdefault((whose, name), []).append(call())
    return [{"whose": whose, "method": name, **_median(found)} for (whose, name), found in rows.items()]


def told(rows: list[Timed]) -> str:
    """The rows as a table."""
    columns = ("whose", "method", "propose", "plan", "apply", "cpu_seconds", "seconds", "changed_ml")
    return table(HEAD, [tuple(row.get(name, "") for name in columns) for row in rows])


def _median(found: list[Timed]) -> Timed:
    first = found[0]
    return {k: round(statistics.median(one[k] for one in found), 3) if isinstance(v, float) else v for k, v in first.items()}


def _ours(head: Head, name: str) -> Callable[[], Timed]:
    kept = protect(head.case, head.scan, head.face, Settings(method=name))
    scene = Scene(head.case.scan, head.scan.body, kept, head.face.landmarks, head.face.frame, seed=5)

    def call() -> Timed:
        start, cpu = time.perf_counter(), time.process_time()
        try:
            proposal = REGISTRY[name].propose(scene)
        except HndefaceError as error:
            return {"propose": f"refused: {type(error).__name__}"}
        proposed = time.process_time()
        plan = proposal.without(kept)
        planned = time.process_time()
        after = plan.apply(scene.scan)
        done = time.process_time()
        steps = {"propose": proposed - cpu, "plan": planned - proposed, "apply": done - planned}
        whole = {"cpu_seconds": done - cpu, "seconds": time.perf_counter() - start}
        return {**steps, **whole, "changed_ml": _changed_ml(scene.scan, after.array)}

    return call


def _quickshear(head: Head) -> Callable[[], Timed] | None:
    """The package on the same head. It wants a brain mask: the drawn one, because it brings no way to find one."""
    try:
        import nibabel as nib
        from quickshear import quickshear
    except ImportError:
        return None
    scan = head.case.scan
    drawn = next((roi for roi in head.case.rois if roi.name.lower() == "brain"), None)
    if drawn is None:
        return None
    brain: Mask = rasterise(drawn, scan.grid)
    image, mask = (nib.Nifti1Image(array.transpose(2, 1, 0), _affine_ras(scan.grid)) for array in (scan.array, _bytes(brain)))

    def call() -> Timed:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            start, cpu = time.perf_counter(), time.process_time()
            made = quickshear(image, mask, 10)
            after = np.asarray(made.dataobj).transpose(2, 1, 0)
            taken = {"cpu_seconds": time.process_time() - cpu, "seconds": time.perf_counter() - start}
        return {**taken, "changed_ml": _changed_ml(scan, after)}

    return call


def _bytes(mask: Mask) -> np.ndarray:
    return mask.array.astype(np.uint8)


def _affine_ras(grid: Grid) -> np.ndarray:
    """NIfTI's affine: columns i, j, k in RAS mm."""
    return LPS_TO_RAS @ grid.affine[:, [2, 1, 0, 3]]


def _changed_ml(scan: Volume, after: np.ndarray) -> float:
    return float(np.count_nonzero(after != scan.array)) * scan.grid.voxel_ml
