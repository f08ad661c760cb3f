"""Doses as volumes in Gy, and small pictures that hide in headers."""

from __future__ import annotations

import numpy as np

from fw_gear_hndeface.dicom.carry_rtdose import dose_grid
from fw_gear_hndeface.dicom.headers import DAMAGE, read_whole
from fw_gear_hndeface.dicom.overlays import has_pictures
from fw_gear_hndeface.dicom.pixels import load
from fw_gear_hndeface.dicom.study import Series
from fw_gear_hndeface.errors import DicomError
from fw_gear_hndeface.model import Unit, Volume


def read_doses(series: Series) -> tuple[Volume, ...]:
    """Every dose grid of a series; values are Gy, or per cent where the dose is relative.

    Raises
    ------
    DicomError
        A dose that cannot be read.
    """
    found = []
    for instance in series.instances:
        where = instance.member.where
        try:
            dataset = load(instance.member.read(), instance)
            grid = dose_grid(dataset, where)
            stored = np.asarray(dataset.pixel_array).reshape(grid.shape)
            dose = stored.astype(np.float32) * np.float32(dataset.DoseGridScaling)
        except DAMAGE as error:
            raise DicomError(f"{where}: the dose is damaged. Send it again.") from error
        found.append(Volume(grid, dose, Unit.GY))
    return tuple(found)


def shows_pictures(series: Series) -> bool:
    """Whether the first, middle or last object of a series carries an icon, an overlay or a curve: drawings of the slice."""
    last = len(series.instances) - 1
    looked_at = {series.instances[n] for n in (0, last // 2, last)}
    return any(has_pictures(read_whole(one.member.read(), one.member.where)) for one in looked_at)
