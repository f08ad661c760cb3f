"""Spatial registration objects: how one frame of reference lies in another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from fw_gear_hndeface.dicom.headers import DAMAGE, Instance, read_whole
from fw_gear_hndeface.errors import DicomError
from fw_gear_hndeface.model import Float, Grid
from fw_gear_hndeface.ops.transform import Affine, Field, Transform, chained

#: The rows and columns of a matrix that moves, turns, stretches or shears may not shrink space to less than this.
LEAST_DETERMINANT = 1e-3


@dataclass(frozen=True, eq=False)
class Link:
    """A transform from points of one frame of reference to another, and the label of the series it was read from."""

    source: str
    target: str
    transform: Transform
    label: str

    def reversed(self) -> Link:
        """The way back."""
        return Link(self.target, self.source, self.transform.inverse(), self.label)


def read_links(instance: Instance, label: str) -> tuple[Link, ...]:
    """Every transform that a rigid, affine or deformable registration object holds.

    Raises
    ------
    DicomError
        A registration that cannot be read, or a matrix that flattens space.
    """
    where = instance.member.where
    dataset = read_whole(instance.member.read(), where)
    try:
        rigid = [
            Link(str(item.FrameOfReferenceUID), instance.frame, _matrices(item, where), label)
            for item in dataset.get("RegistrationSequence") or []
        ]
        # a deformable object leads from its own frame to the source: it says where to sample (PS3.3 C.20.3.1.1)
        warped = [
            Link(instance.frame, str(item.SourceFrameOfReferenceUID), _field(item, dataset, where), label)
            for item in dataset.get("DeformableRegistrationSequence") or []
        ]
    except DAMAGE as error:
        raise DicomError(f"{where}: the registration is damaged. Send it again.") from error
    return tuple(link for link in (*rigid, *warped) if link.source and link.target and link.source != link.target)


def paths(origin: str, links: Iterable[Link]) -> Mapping[str, tuple[Transform, tuple[str, ...]]]:
    """How to get from one frame of reference into every other that registrations lead to, by the fewest steps.

    Returns
    -------
    By frame of reference: the transform, and the labels of the series it was read from.
    """
    both = [way for link in links for way in (link, link.reversed())]
    found: dict[str, tuple[Transform, tuple[str, ...]]] = {origin: (Affine(np.eye(4)), ())}
    edge = [origin]
    while edge:
        fresh: list[str] = []
        for way in both:
            if way.source in edge and way.target not in found:
                transform, labels = found[way.source]
                found[way.target] = (chained([transform, way.transform]), (*labels, way.label))
                fresh.append(way.target)
        edge = fresh
    del found[origin]
    return found


def _matrices(item: Dataset, where: str) -> Affine:
    """The matrices of an item, carried out in the order they are given."""
    whole = np.eye(4)
    for outer in item.get("MatrixRegistrationSequence") or []:
        for inner in outer.get("MatrixSequence") or []:
            whole = _matrix(inner, where) @ whole
    return Affine(whole)


def _matrix(item: Dataset, where: str) -> Float:
    matrix = np.array([float(v) for v in item.FrameOfReferenceTransformationMatrix]).reshape(4, 4)
    if not np.all(np.isfinite(matrix)) or abs(np.linalg.det(matrix[:3, :3])) < LEAST_DETERMINANT:
        raise DicomError(f"{where}: a registration matrix flattens space. Send the registration again.")
    return matrix


def _field(item: Dataset, dataset: Dataset, where: str) -> Transform:
    """Matrix before, displacements given at places before that matrix, matrix after."""
    before, after = (
        Affine(_matrix(item[name][0], where)) if item.get(name) else Affine(np.eye(4))
        for name in ("PreDeformationMatrixRegistrationSequence", "PostDeformationMatrixRegistrationSequence")
    )
    grids = item.get("DeformableRegistrationGridSequence") or []
    if not grids:
        return chained([before, after])
    lattice, offsets = _lattice(grids[0]), _offsets(grids[0], dataset)
    # displacements are added behind the first matrix but looked up before it: the lattice is carried through it
    return chained([before, Field(before.moved(lattice, ""), offsets), after])


def _lattice(item: Dataset) -> Grid:
    axes = np.array(item.ImageOrientationPatient, dtype=np.float64)
    steps = np.array(item.GridResolution, dtype=np.float64)
    affine = np.eye(4)
    normal = np.cross(axes[:3], axes[3:])
    affine[:3, :3] = np.column_stack([normal * steps[2], axes[3:] * steps[1], axes[:3] * steps[0]])
    affine[:3, 3] = np.array(item.ImagePositionPatient, dtype=np.float64)
    columns, rows, slices = (int(n) for n in item.GridDimensions)
    return Grid((slices, rows, columns), affine)


def _offsets(item: Dataset, dataset: Dataset) -> Float:
    """(K, J, I, 3) mm; where the object leaves them undefined the points stay."""
    columns, rows, slices = (int(n) for n in item.GridDimensions)
    order = "<" if dataset.original_encoding[1] else ">"
    raw = item.VectorGridData
    offsets = np.frombuffer(raw, f"{order}f4", slices * rows * columns * 3).reshape(slices, rows, columns, 3)
    return np.nan_to_num(offsets.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
