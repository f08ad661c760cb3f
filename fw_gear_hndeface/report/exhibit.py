"""What a report may draw of one defaced scan, and the pictures made of it. The original is no part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fw_gear_hndeface.model import Float, Mask, Roi, RoiKind, Volume
from fw_gear_hndeface.ops.frame import HeadFrame

#: What of the head is drawn, frame mm at scale 1: chin to vertex and back to the ears, no shoulders.
HEAD_MM = (np.array([-100.0, -120.0, -180.0]), np.array([100.0, 130.0, 125.0]))
#: Kinds of region that are drawn. Outlines, supports and helper shapes were drawn on the old skin and would show it.
DRAWN = (RoiKind.TARGET, RoiKind.ORGAN, RoiKind.NODE, RoiKind.LANDMARK)
#: No line is drawn nearer to a changed voxel than this: a structure that ended at the old skin would show it under new tissue.
CLEAR_MM = 3.0


@dataclass(frozen=True, eq=False)
class Shown:
    """A defaced scan as a report may show it.

    Parameters
    ----------
    scan : the scan after the change
    change : the changed voxels: they say where to look and where no line is drawn, and are never drawn themselves
    rois : drawn regions with the kinds they counted as
    frame : the head frame
    """

    scan: Volume
    change: Mask
    rois: tuple[Roi, ...]
    frame: HeadFrame

    @property
    def structures(self) -> tuple[Roi, ...]:
        """The drawn regions that may be shown."""
        return tuple(roi for roi in self.rois if roi.kind in DRAWN and roi.contours_mm)

    def extent_mm(self) -> tuple[Float, Float]:
        """Lowest and highest LPS corner of the part of the head that is drawn, within the scan."""
        corners = self.frame.corners(*(end * self.frame.scale for end in HEAD_MM))
        scan = self.scan.grid.corners()
        low, high = np.maximum(corners.min(axis=0), scan.min(axis=0)), np.minimum(corners.max(axis=0), scan.max(axis=0))
        return low, np.maximum(high, low)


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of a report: (R, C) grey or (R, C, 3) RGB, with a stable name and the section it belongs to."""

    name: str
    group: str
    caption: str
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """What the interactive view shows: two NIfTI files, gzip, and the structures by label.

    Parameters
    ----------
    scan : the head after the change, HU
    labels : the structures, one number each
    structures : (name, colour as #rrggbb) of label 1, 2, ...
    """

    scan: bytes
    labels: bytes
    structures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Exhibit:
    """Everything a report shows of one run; empty where nothing was changed."""

    pictures: tuple[Picture, ...] = ()
    scene: Scene | None = None

    def group(self, name: str) -> tuple[Picture, ...]:
        """The pictures of a section."""
        return tuple(picture for picture in self.pictures if picture.group == name)


def strip_of(pictures: Sequence[Picture], height: int) -> NDArray[np.uint8]:
    """Grey pictures side by side at one height, (height, C)."""
    tiles = []
    for picture in pictures:
        rows, columns = picture.image.shape[:2]
        pick = np.minimum((np.arange(height) * rows / height).astype(int), rows - 1)
        across = np.minimum((np.arange(max(round(columns * height / rows), 1)) * rows / height).astype(int), columns - 1)
        tiles.append(picture.image[np.ix_(pick, across)])
    return np.hstack(tiles) if tiles else np.zeros((height, 1), np.uint8)
