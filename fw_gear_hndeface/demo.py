"""`hndeface demo`: a synthetic study through the real gear, laid out as the platform would, and a picture before and after."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fw_gear_hndeface import __version__
from fw_gear_hndeface.dicom.archive import open_inputs
from fw_gear_hndeface.dicom.limits import Limits
from fw_gear_hndeface.dicom.series import read_stacks
from fw_gear_hndeface.dicom.study import SeriesKind, read_contents
from fw_gear_hndeface.dicom.synthesize import write_study
from fw_gear_hndeface.doors import VERDICT_WORDS, manifest_config
from fw_gear_hndeface.errors import SettingsError
from fw_gear_hndeface.model import Verdict, Volume
from fw_gear_hndeface.ops.render import Picture, Pose, extract_surface, render
from fw_gear_hndeface.settings import Settings
from fw_gear_hndeface.synthetic.head import make_head

_STUDY = "synthetic_head.dicom.zip"
_SEED = 11
_POSES = (Pose(), Pose(yaw_deg=45.0), Pose(yaw_deg=90.0))
_PIXEL_MM = 0.9
_GAP = 12


def run_demo(folder: Path, say: Callable[[str], None]) -> int:
    """Make a study, deface it as a platform job below `folder`, draw before_after.png, and tell where to look.

    Raises
    ------
    SettingsError
        `folder` holds a `job` that is no job of the demo: it is not overwritten.
    """
    from fw_gear_hndeface.gear import main as run_gear

    job = _fresh(folder / "job")
    study = job / "input" / "dicom" / _STUDY
    say("Making a synthetic head-and-neck study ...")
    head = make_head(_SEED)
    write_study(head, study, seed=_SEED)
    _lay_out(job, study)
    say("Defacing it as the platform would ...")
    code = run_gear(job)
    output = job / "output"
    record = next(output.glob("*.qa.json"), None)
    if record is None:
        say(f"The gear ended with code {code}.")
        return code
    verdict = Verdict(json.loads(record.read_text(encoding="utf-8"))["verdict"])
    say(f"\n{verdict.value}: {VERDICT_WORDS[verdict]}\n")
    image = next(output.glob("*.dicom.zip"), None)
    if image is not None:
        _draw(head.volume, _first_ct(image), folder / "before_after.png")
        say(f"picture  {folder / 'before_after.png'}")
        say(f"study    {image}")
    say(f"report   {record.with_suffix('.html')}")
    say(f"record   {record}")
    say(f"job      {job}")
    return code


def _fresh(job: Path) -> Path:
    """An empty job folder; one that an earlier demo left is replaced, anything else is not ours to delete."""
    marker = job / "manifest.json"
    if job.exists():
        if not marker.exists() or "hndeface" not in marker.read_text(encoding="utf-8"):
            raise SettingsError("The folder 'job' in the demo's output is none of the demo's. Choose another folder with -o.")
        shutil.rmtree(job)
    (job / "input" / "dicom").mkdir(parents=True)
    return job


def _lay_out(job: Path, study: Path) -> None:
    """What the platform puts beside the inputs: the job's configuration and the gear's manifest."""
    entry = {
        "base": "file",
        "hierarchy": {"type": "acquisition", "id": "demo"},
        "location": {"name": study.name, "path": str(study.resolve())},
        "object": {"type": "dicom", "modality": "CT", "classification": {}, "tags": [], "info": {}},
    }
    config = {
        "config": {},
        "inputs": {"dicom": entry},
        "destination": {"type": "acquisition", "id": "demo"},
        "job": {"id": "demo"},
    }
    manifest = {"name": "hndeface", "version": __version__, "config": manifest_config()}
    (job / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    (job / "manifest.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")


def _first_ct(image: Path) -> Volume:
    with tempfile.TemporaryDirectory() as work, open_inputs([image], Limits.of(Settings()), Path(work)) as archive:
        series = next(one for one in read_contents(archive).series if one.kind is SeriesKind.CT)
        return read_stacks(series)[0].volume


def _draw(before: Volume, after: Volume, path: Path) -> None:
    """Two rows of views, before above after, each pair on one canvas."""
    surfaces = [extract_surface(volume) for volume in (before, after)]
    pairs = [_aligned([render(surface, pose, pixel_mm=_PIXEL_MM) for surface in surfaces]) for pose in _POSES]
    height = max(pair[0].shape[0] for pair in pairs)
    rows = []
    for row in range(2):
        tiles = [np.pad(pair[row], ((0, height - pair[row].shape[0]), (_GAP, _GAP))) for pair in pairs]
        rows.append(np.pad(np.hstack(tiles), ((_GAP, _GAP), (0, 0))))
    Image.fromarray(np.vstack(rows)).save(path, optimize=True)


def _aligned(pictures: Sequence[Picture]) -> list[NDArray[np.uint8]]:
    """Pictures of one pose on canvases of one size, the same place at the same pixel."""
    low = np.min([picture.origin[:2] for picture in pictures], axis=0)
    shifts = [np.rint((picture.origin[:2] - low) / _PIXEL_MM).astype(int) for picture in pictures]
    ends = [shift[::-1] + picture.grey.shape for shift, picture in zip(shifts, pictures, strict=True)]
    size = np.max(ends, axis=0)
    canvases = []
    for (column, row), picture in zip(shifts, pictures, strict=True):
        canvas = np.zeros(size, dtype=np.uint8)
        canvas[row : row + picture.grey.shape[0], column : column + picture.grey.shape[1]] = picture.grey
        canvases.append(canvas)
    return canvases
