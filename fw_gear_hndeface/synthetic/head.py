"""A seeded head-and-neck CT with its truth: HU, structures, landmarks and dose, on any grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from fw_gear_hndeface.model import Float, Grid, Landmarks, Mask, Unit, Volume
from fw_gear_hndeface.synthetic import anatomy, points
from fw_gear_hndeface.synthetic.field import Array, Lattice, Waves, is_empty, ramp
from fw_gear_hndeface.synthetic.parameters import HeadParameters
from fw_gear_hndeface.synthetic.surface import skin_distance

#: What is in view, head-frame z in mm (bottom, top).
FIELDS: Mapping[str, tuple[float, float]] = {
    "head_neck": (-195.0, 125.0),
    "head": (-150.0, 125.0),
    "brow_neck": (-195.0, 22.0),
}

#: In-plane field of view in the head frame, mm: x, y.
PLANE_MM = ((-124.0, 124.0), (-64.0, 190.0))

#: The head turns about a point near the top of the spine, head frame mm.
PIVOT = np.array([0.0, 75.0, -45.0])


@dataclass(frozen=True)
class Scene:
    """How the head lies and what is around it.

    Parameters
    ----------
    pose_deg : pitch (chin up), yaw (to the patient's left) and roll (towards the left shoulder)
    origin_lps : where the middle between the globes lies at pose zero, mm
    noise_hu : standard deviation of the scanner's noise
    couch, shell : a flat couch with a headrest; a thermoplastic mask over the face
    """

    pose_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    origin_lps: tuple[float, float, float] = (3.4, -187.6, 612.3)
    noise_hu: float = 7.0
    couch: bool = False
    shell: bool = False

    def head_to_patient(self, scale: float) -> Float:
        """Affine from the head frame to patient LPS, (4, 4)."""
        pitch, yaw, roll = np.radians(self.pose_deg)
        cp, sp, cy, sy, cr, sr = np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw), np.cos(roll), np.sin(roll)
        turn_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        turn_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
        turn_y = np.array([[cr, 0, sr], [0, 1, 0], [-sr, 0, cr]])
        turn = turn_z @ turn_y @ turn_x
        affine = np.eye(4)
        affine[:3, :3] = scale * turn
        affine[:3, 3] = np.array(self.origin_lps) + scale * (PIVOT - turn @ PIVOT)
        return affine


@dataclass(frozen=True, eq=False)
class SyntheticHead:
    """A CT of nobody and the truth about it.

    Parameters
    ----------
    volume : HU, int16
    structures : masks on the volume's grid, by name
    landmarks : true positions, LPS mm
    dose : Gy on its own coarser grid, or None
    """

    volume: Volume
    structures: Mapping[str, Mask]
    landmarks: Landmarks
    dose: Volume | None
    parameters: HeadParameters


def make_head(
    seed: int,
    *,
    shape: tuple[int, int, int] | None = None,
    spacing_mm: tuple[float, float, float] = (2.5, 1.0, 1.0),
    field: str = "head_neck",
    scene: Scene | None = None,
    with_dose: bool = True,
) -> SyntheticHead:
    """Somebody's head on an axial grid.

    Parameters
    ----------
    seed : who it is
    shape : (K, J, I); by default what `field` needs
    spacing_mm : slice, row, column
    field : a key of `FIELDS`: which slices are in view

    Raises
    ------
    ValueError : an unknown field
    """
    scene = scene or Scene()
    grid = axial_grid(spacing_mm, field, shape=shape, origin_lps=scene.origin_lps)
    return render_head(HeadParameters.draw(seed), grid, scene, with_dose=with_dose)


def axial_grid(
    spacing_mm: tuple[float, float, float],
    field: str = "head_neck",
    *,
    shape: tuple[int, int, int] | None = None,
    origin_lps: tuple[float, float, float] = (0.0, 0.0, 0.0),
    frame: str = "",
) -> Grid:
    """An axial lattice around a head at `origin_lps`: slices go up, rows back, columns to the left."""
    if field not in FIELDS:
        raise ValueError(f"field must be one of {sorted(FIELDS)}, got {field!r}")
    (x0, x1), (y0, y1), (z0, z1) = *PLANE_MM, FIELDS[field]
    middle, size = np.array([z0 + z1, y0 + y1, x0 + x1]) / 2, np.array([z1 - z0, y1 - y0, x1 - x0])
    spacing = np.array(spacing_mm, dtype=np.float64)
    count = np.array(shape) if shape is not None else np.floor(size / spacing).astype(int) + 1
    first = middle - (count - 1) / 2 * spacing
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag(spacing[::-1]))
    affine[:3, 3] = first[::-1] + np.array(origin_lps)
    return Grid((int(count[0]), int(count[1]), int(count[2])), affine, frame)


def render_head(p: HeadParameters, grid: Grid, scene: Scene | None = None, *, with_dose: bool = True) -> SyntheticHead:
    """A head on any grid: every voxel is computed at its own patient position."""
    scene = scene or Scene()
    to_patient = scene.head_to_patient(p.scale)
    lattice = Lattice.of(grid, to_patient)
    skin = skin_distance(p, lattice)
    marks = points.find(p)
    canvas = anatomy.fill(p, lattice, skin, marks["cheek_node"])
    _texture(p, canvas)
    if scene.shell:
        _add_shell(canvas)
    if scene.couch:
        _add_couch(p, canvas)
    _noise(p.seed, scene.noise_hu, canvas.hu)
    volume = Volume(grid, np.rint(np.clip(canvas.hu, -1024, 3071)).astype(np.int16))
    structures = {name: Mask(grid, region, name) for name, region in canvas.regions.items()}
    landmarks = points.landmarks(marks, to_patient, grid)
    return SyntheticHead(volume, structures, landmarks, _dose(p, grid, to_patient) if with_dose else None, p)


def _texture(p: HeadParameters, canvas: anatomy.Canvas) -> None:
    """Tissue is not even: correlated variation that belongs to the patient, not to the scanner."""
    rng = np.random.default_rng([p.seed, 22])
    box = canvas.lattice.whole()
    texture = Waves.draw(rng, 3.0, 0.7, 24).on(canvas.lattice, box) + Waves.draw(rng, 9.0, 0.7, 24).on(canvas.lattice, box)
    spread = np.where(canvas.hu > 250, np.float32(55.0), np.float32(9.0))
    canvas.hu += texture * spread * (canvas.hu > -400)


def _noise(seed: int, deviation_hu: float, hu: Array) -> None:
    """Scanner noise, correlated over about a voxel in the slice."""
    if deviation_hu <= 0:
        return
    rng = np.random.default_rng([seed, 23])
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    ndimage.gaussian_filter(noise, (0.0, 0.6, 0.6), output=noise)
    hu += noise * np.float32(deviation_hu / max(float(noise.std()), 1e-6))


def _add_shell(canvas: anatomy.Canvas) -> None:
    """A thermoplastic mask: 2 mm thick, 1 to 4 mm off the skin, open at the back, with holes."""
    lattice, box = canvas.lattice, canvas.lattice.box((-100.0, -70.0, -120.0), (100.0, 80.0, 115.0))
    if is_empty(box):
        return
    x, y, z = lattice.axes(box)
    gap = 2.5 + 1.5 * np.sin(x / 17.0) * np.sin(z / 23.0)
    shell = np.abs(canvas.skin[box] - gap - 1.0) - 1.0
    shell = np.maximum(shell, y - 70.0)
    holes = (np.cos(x * (2 * np.pi / 9.0)) + np.cos(z * (2 * np.pi / 9.0))) > 1.55
    canvas.paint(box, np.where(holes, np.float32(9.0), shell), 60.0)


def _add_couch(p: HeadParameters, canvas: anatomy.Canvas) -> None:
    """A headrest under the occiput and neck, on a flat couch with a foam core."""
    back = -21.0 + p.head_length
    box = canvas.lattice.whole()
    x, y, z = canvas.lattice.axes(box)
    outside = np.broadcast_to(1.0 - ramp(-canvas.skin, 0.0, 1.0), canvas.hu.shape)
    top = np.float32(back + 6.0)
    slab = np.broadcast_to(np.maximum(np.abs(y - top - 10.0) - 10.0, np.abs(x) - 110.0), canvas.hu.shape)
    cup = np.maximum(np.abs(x) - 45.0, np.maximum(y - top, back - 24.0 - y))
    cup = np.broadcast_to(np.maximum(cup, np.abs(z + 40.0) - 75.0), canvas.hu.shape)
    for field, value in ((cup, -920.0), (slab, -150.0), (slab + 2.0, -940.0)):
        share = np.clip(0.5 - field / canvas.blur_mm, 0, 1) * outside
        canvas.hu += (np.float32(value) - canvas.hu) * share.astype(np.float32)


def _dose(p: HeadParameters, grid: Grid, to_patient: Float) -> Volume:
    """70 Gy in the target, falling with distance and towards the skin, nothing in the air; own 3 mm lattice."""
    corners = grid.corners()
    low, high = corners.min(axis=0) + 8.0, corners.max(axis=0) - 8.0
    spacing = np.array([3.0, 2.7, 2.7])
    count = np.maximum(np.floor((high - low)[::-1] / spacing).astype(int) + 1, 2)
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag(spacing[::-1]))
    affine[:3, 3] = low
    coarse = Grid((int(count[0]), int(count[1]), int(count[2])), affine, grid.frame)
    lattice = Lattice.of(coarse, to_patient)
    skin = skin_distance(p, lattice)
    canvas = anatomy.Canvas(lattice, skin, skin)
    away = np.maximum(canvas.shape(lattice.whole(), anatomy.target_shapes(p), 8.0), 0.0)
    dose = 70.0 * (0.88 * np.exp(-((away / 22.0) ** 1.3)) + 0.12 * np.exp(-away / 90.0))
    dose = dose * (0.45 + 0.55 * ramp(-skin, 0.0, 6.0)) * (skin < 0)
    return Volume(coarse, dose.astype(np.float32), Unit.GY)
