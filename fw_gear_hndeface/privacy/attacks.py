"""What an attacker would try on a released head: every attack turns voxels into guesses of the old skin surface.

An attack is a small function in `ATTACKS`. It is given the head as released, on a grid along the head frame's axes, and answers
with guesses: fields whose level set is the surface it believes in. All of them run without the original.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fw_gear_hndeface.model import Bool, Float, Mask, Volume
from fw_gear_hndeface.ops.boxes import part_around
from fw_gear_hndeface.ops.frame import HeadFrame
from fw_gear_hndeface.ops.front import near_patient
from fw_gear_hndeface.ops.relief import Map, Rays, cut_end, first_crossing, make_rays
from fw_gear_hndeface.ops.render import Surface, extract_surface
from fw_gear_hndeface.ops.resample import AIR_HU, resample_mask
from fw_gear_hndeface.ops.skin import SKIN_HU, analysis_volume
from fw_gear_hndeface.privacy.views import HIGH_MM, LOW_MM, SPACING_MM

Field = NDArray[np.float32]

#: How the surface that is there to see is called.
PLAIN_SKIN = f"{SKIN_HU:g} HU"
#: Radii by which a shrunken or masked head is grown again, mm.
REGROWN_MM = (5.0, 7.5, 10.0, 12.5, 15.0, 20.0, 25.0)
#: Holes narrower than twice this are closed before a core is grown, mm.
CLOSED_MM = 12.0
#: Values that fills made of random tissue lie in, HU.
FILL_HU = (-125.0, 50.0)
#: Rays that must meet something in front of the skin before it is taken for a mask.
LEAST_SHELL_RAYS = 200


@dataclass(frozen=True, eq=False)
class Exposed:
    """One head as an attacker has it.

    Parameters
    ----------
    scan : the released series on its own grid
    rays : the head frame's grid, which `hu` and `near` lie on
    hu : the scan on that grid, equipment included
    near : voxels that may be the patient; the rest is equipment and room
    """

    scan: Volume
    rays: Rays
    hu: Field
    near: Bool

    @property
    def cleaned(self) -> Field:
        """The head without equipment."""
        return np.where(self.near, self.hu, np.float32(AIR_HU))

    @cached_property
    def cut_end(self) -> Map:
        """Frame y up to which what a ray meets is the end of the scan, mm; the same for every guess."""
        return cut_end(self.rays, self.scan.grid)


@dataclass(frozen=True, eq=False)
class Guess:
    """A surface an attack believes in: where `field` (K, J, I) on the rays' grid crosses `level`, upwards from the air.

    `moved_mm` is how far it was moved from what is there: whatever is moved far becomes round, and a little of a face.
    """

    label: str
    rays: Rays
    field: Field
    level: float
    moved_mm: float = 0.0

    def surface(self) -> Surface:
        """The surface in frame mm, as `views.face_surface` gives it."""
        found = extract_surface(Volume(self.rays.grid, self.field), self.level)
        frame = self.rays.frame
        points = frame.to_frame(found.points.astype(np.float64)).astype(np.float32)
        return Surface(points, found.normals @ frame.axes.T.astype(np.float32))

    def relief(self) -> Map:
        """Frame y in mm where each ray from the front meets the surface; NaN where it does not."""
        return first_crossing(self.rays, Volume(self.rays.grid, self.field), self.level)


@dataclass(frozen=True)
class Attack:
    """One way to look for the old surface. `inner` surfaces (muscle, bone) are left by design and count as residual risk."""

    name: str
    reference: str
    guesses: Callable[[Exposed], Iterator[Guess]]
    inner: bool = False


def expose(scan: Volume, patient: Sequence[Mask], frame: HeadFrame, *, spacing_mm: float = SPACING_MM) -> Exposed:
    """A head prepared for attack.

    Parameters
    ----------
    patient : masks whose union, a little grown, is the patient.
    spacing_mm : edge of the voxels that attacks work on
    """
    scale = frame.scale
    rays = make_rays(frame, LOW_MM * scale, HIGH_MM * scale, spacing_mm)
    hu = analysis_volume(scan, spacing_mm, rays.grid).array.astype(np.float32)
    return Exposed(scan, rays, hu, near_patient(rays.grid, patient))


def skin_guess(exposed: Exposed) -> Guess:
    """The surface that is there to see: no attack at all."""
    return Guess(PLAIN_SKIN, exposed.rays, exposed.cleaned, SKIN_HU)


def _isosurfaces(exposed: Exposed, levels: Sequence[float]) -> Iterator[Guess]:
    for level in levels:
        yield Guess(f"{level:g} HU", exposed.rays, exposed.cleaned, level)


def _skin(exposed: Exposed) -> Iterator[Guess]:
    yield from _isosurfaces(exposed, (SKIN_HU, -700.0, -500.0, -100.0, 0.0))


def _muscle(exposed: Exposed) -> Iterator[Guess]:
    yield from _isosurfaces(exposed, (60.0,))


def _bone(exposed: Exposed) -> Iterator[Guess]:
    for level in (150.0, 200.0, 300.0):
        solid = _largest(exposed.cleaned > level)
        field = np.where(ndimage.binary_dilation(solid), exposed.cleaned, np.float32(AIR_HU))
        yield Guess(f"bone {level:g} HU", exposed.rays, field, level)


def _smoothing(exposed: Exposed) -> Iterator[Guess]:
    step = exposed.rays.pixel_mm
    for label, sigma in (("2.4/3 mm", (3.0, 2.4, 2.4)), ("1.5 mm", (1.5,) * 3), ("4 mm", (4.0,) * 3)):
        field = ndimage.gaussian_filter(exposed.cleaned, [s / step for s in sigma])
        yield Guess(f"Gaussian {label}", exposed.rays, field, SKIN_HU)


def _low_pass(exposed: Exposed) -> Iterator[Guess]:
    median = ndimage.median_filter(exposed.cleaned, size=3)
    broad = ndimage.gaussian_filter(exposed.cleaned, 8.0 / exposed.rays.pixel_mm)
    for level in (-20.0, SKIN_HU):
        yield Guess(f"median at {level:g} HU", exposed.rays, median, level)
        yield Guess(f"Gaussian 8 mm at {level:g} HU", exposed.rays, broad, level)


def _regrown(label: str, core: Bool, exposed: Exposed) -> Iterator[Guess]:
    """A core grown by each radius: in space, slice by slice, and with its holes closed. One distance map gives all radii."""
    if not core.any():
        return
    rays, step = exposed.rays, exposed.rays.pixel_mm
    space = ndimage.distance_transform_edt(~core, sampling=step)
    flat = np.stack([ndimage.distance_transform_edt(~part, sampling=step) if part.any() else _far(part) for part in core])
    closed = ndimage.distance_transform_edt(space <= CLOSED_MM, sampling=step) > CLOSED_MM  # airways a carving opened
    ways = {"": space, " per slice": flat, " and closed": ndimage.distance_transform_edt(~(closed | core), sampling=step)}
    for way, distance in ways.items():
        for radius in REGROWN_MM:
            yield Guess(f"{label} + {radius:g} mm{way}", rays, -distance.astype(np.float32), -radius, radius)


def _far(part: Bool) -> Float:
    return np.full(part.shape, -1e3)


def _regrowing(exposed: Exposed) -> Iterator[Guess]:
    yield from _regrown("not air", _largest(exposed.cleaned > SKIN_HU), exposed)


def _shrinking(exposed: Exposed) -> Iterator[Guess]:
    """A wall laid around the head taken off again: what stands out of the old skin stands out of the wall as well."""
    inside = ndimage.distance_transform_edt(_largest(exposed.cleaned > SKIN_HU), sampling=exposed.rays.pixel_mm)
    for radius in REGROWN_MM:
        yield Guess(f"not air - {radius:g} mm", exposed.rays, inside.astype(np.float32), radius, radius)


def _fill_texture(exposed: Exposed) -> Iterator[Guess]:
    """Random fill told from tissue by its texture on the scan's own slices; what is left is the core."""
    for label, array in _calm_cores(exposed):
        core = _largest(ndimage.binary_opening(array))
        yield Guess(label, exposed.rays, ndimage.gaussian_filter(core.astype(np.float32), 0.7), 0.5)
        yield from _regrown(label, core, exposed)


def _calm_cores(exposed: Exposed) -> Iterator[tuple[str, Bool]]:
    scan = part_around(exposed.scan, exposed.rays.grid)
    fill = np.stack([_like_fill(plane.astype(np.float32)) for plane in scan.array])
    dense, fill = (_moved(Mask(scan.grid, array, "texture"), exposed) for array in (scan.array > SKIN_HU, fill))
    yield "fill taken off", dense & ~_largest(ndimage.binary_closing(fill))
    yield "calm tissue", _moved(Mask(scan.grid, calm_tissue(scan), "texture"), exposed)


def _like_fill(hu: Field) -> Bool:
    """Pixels of a slice that have the values and the roughness of random tissue."""
    rough = _local_deviation(hu - ndimage.uniform_filter(hu, 3))
    return np.asarray((rough > 20.0) & (hu > FILL_HU[0]) & (hu < FILL_HU[1]))


def calm_tissue(scan: Volume) -> Bool:
    """Voxels of tissue whose slice is even around them: tissue as scanned, not random fill."""
    return np.stack([(_local_deviation(plane.astype(np.float32)) < 30.0) & (plane > -200.0) for plane in scan.array])


def _moved(mask: Mask, exposed: Exposed) -> Bool:
    return np.asarray(resample_mask(mask, exposed.rays.grid).array & exposed.near)


def _largest(array: Bool) -> Bool:
    """The largest part: a fill and a core are connected, noise is not."""
    labels, count = ndimage.label(array)
    if count == 0:
        return array
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == int(sizes.argmax()))


def _local_deviation(hu: Field) -> Field:
    """Standard deviation over 5 x 5 pixels of a slice."""
    mean = ndimage.uniform_filter(hu, 5)
    square = ndimage.uniform_filter(hu * hu, 5)
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0.0)), dtype=np.float32)


def _mask_shell(exposed: Exposed) -> Iterator[Guess]:
    """The inner side of a thermoplastic mask: a mould of the face a few millimetres off the skin."""
    head = _largest(exposed.cleaned > SKIN_HU)
    away = ndimage.distance_transform_edt(~head, sampling=exposed.rays.pixel_mm)
    shell = (exposed.hu > -900.0) & (exposed.hu < 200.0) & ~exposed.near & (away < 25.0)
    last = np.where(shell.any(axis=1), shell.shape[1] - 1 - shell[:, ::-1].argmax(axis=1), -1)
    if np.count_nonzero(last >= 0) < LEAST_SHELL_RAYS:
        return
    closed = ndimage.grey_closing(last, size=(7, 7))[:, None, :]  # a mask is a net: its holes are a few millimetres wide
    behind = (closed >= 0) & (np.arange(shell.shape[1])[None, :, None] > closed)
    yield Guess("inside of the mask shell", exposed.rays, behind.astype(np.float32), 0.5)


ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        Attack("skin", "iso-surfaces", _skin),
        Attack("smoothing", "Gaussian against block averages and noise", _smoothing),
        Attack("low_pass", "median and wide Gaussian", _low_pass),
        Attack("regrowing", "core grown by the depth a method takes off", _regrowing),
        Attack("shrinking", "wall in front of the skin taken off by its thickness", _shrinking),
        Attack("fill_texture", "fill told from tissue by local variance", _fill_texture),
        Attack("mask_shell", "inner side of a thermoplastic mask", _mask_shell),
        Attack("muscle", "iso-surface below the skin", _muscle, inner=True),
        Attack("bone", "iso-surfaces of the skull", _bone, inner=True),
    )
}
