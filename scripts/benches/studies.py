"""Synthetic studies to measure with: a head, the same head on a body of any length, a chest, copies under UIDs of their own."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom import dcmread

from fw_gear_hndeface.dicom.synthesize import StudyOptions, write_study
from fw_gear_hndeface.model import Grid, Volume
from fw_gear_hndeface.synthetic.head import SyntheticHead, make_head

SEED = 11
#: The field of view of a head and neck, mm: slices, rows, columns.
FIELD_MM = (320.0, 254.0, 248.0)
#: The head on a body: its slices, 5 mm thick.
HEAD_SLICES, SLICE_MM = 50, 5.0
NOISE_HU = 7.0


def make_study(path: Path, shape: tuple[int, int, int], *, structures: bool = True, seed: int = SEED) -> None:
    """A synthetic head-and-neck CT of the given size, with 25 drawn regions or alone."""
    slice_mm, row_mm, column_mm = (size / count for size, count in zip(FIELD_MM, shape, strict=True))
    head = make_head(seed, shape=shape, spacing_mm=(slice_mm, row_mm, column_mm), with_dose=False)
    _write(head, path, seed, StudyOptions(structures=structures, dose=False))


def make_grown(path: Path, slices: int, size: int) -> None:
    """One and the same head of 50 slices of `size` x `size` on as much body below it as makes so many slices.

    The body is the lowest slice of the head again and again, under noise of its own.
    """
    spacing = (SLICE_MM, FIELD_MM[1] / size, FIELD_MM[2] / size)
    head = make_head(SEED, shape=(HEAD_SLICES, size, size), spacing_mm=spacing, field="head", with_dose=False)
    below = slices - HEAD_SLICES
    array = np.empty((slices, size, size), np.int16)
    array[below:] = head.volume.array
    chance = np.random.default_rng(SEED)
    for k in range(below):
        noise = chance.standard_normal((size, size), dtype=np.float32) * np.float32(NOISE_HU)
        array[k] = np.clip(np.rint(head.volume.array[0] + noise), -1024, 3071)
    affine = np.array(head.volume.grid.affine)
    affine[:3, 3] = head.volume.grid.to_patient((-below, 0, 0))
    whole = replace(head, volume=Volume(Grid(array.shape, affine, head.volume.grid.frame), array), structures={})
    _write(whole, path, SEED, StudyOptions(structures=False, dose=False))


def make_chest(path: Path) -> None:
    """A torso without a head, 300 slices of 512 x 512: that of the tests."""
    from tests.phantom import fine_chest

    head = make_head(SEED, shape=(2, 2, 2), spacing_mm=(9.0, 9.0, 9.0), with_dose=False)
    _write(replace(head, volume=fine_chest(), structures={}), path, SEED, StudyOptions(structures=False, dose=False))


def _write(head: SyntheticHead, path: Path, seed: int, options: StudyOptions) -> None:
    """Under another name first: a study that is half there would be measured."""
    half = path.with_name(f"half_{path.name}")
    write_study(head, half, seed=seed, options=options)
    half.replace(path)


def renamed(source: Path, target: Path, number: int, *, lowest: bool = False) -> None:
    """The study under UIDs of its own; with `lowest`, only its CT's lowest quarter, which shows no face."""
    with zipfile.ZipFile(source) as given, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        files = {name: dcmread(io.BytesIO(given.read(name)), force=True) for name in given.namelist() if not name.endswith("/")}
        heights = sorted(
            float(ds.ImagePositionPatient[2])
            for ds in files.values()
            if ds.get("Modality") == "CT" and "ImagePositionPatient" in ds
        )
        top = heights[len(heights) // 4] if lowest else heights[-1]
        for name, ds in files.items():
            is_slice = ds.get("Modality") == "CT" and "ImagePositionPatient" in ds
            if lowest and not (is_slice and float(ds.ImagePositionPatient[2]) <= top):
                continue
            for tag in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
                if tag in ds:
                    setattr(ds, tag, f"{str(getattr(ds, tag))[:50]}.{number}")
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            buffer = io.BytesIO()
            ds.save_as(buffer)
            out.writestr(zipfile.ZipInfo(name), buffer.getvalue(), zipfile.ZIP_DEFLATED, 1)
