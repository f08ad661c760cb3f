"""What lies under the skin of a parametric head: tissue by depth, bone with sinuses, organs, nodes and targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fw_gear_hndeface.model import Bool
from fw_gear_hndeface.synthetic.field import (
    FAR_MM,
    Array,
    Box,
    Capsule,
    Ellipsoid,
    Lattice,
    Point,
    Shape,
    blend,
    carve,
    is_empty,
)
from fw_gear_hndeface.synthetic.parameters import HeadParameters
from fw_gear_hndeface.synthetic.surface import SIDES, cranium, nostrils

AIR_HU, FAT_HU, MUSCLE_HU, SKIN_HU, BRAIN_HU = -1000.0, -100.0, 52.0, 15.0, 35.0

#: Over how many millimetres a border between two tissues is blurred at least; coarse voxels blur more.
BLUR_MM = 1.5


@dataclass
class Canvas:
    """HU and named regions, painted one organ at a time from the outside in.

    Parameters
    ----------
    skin : signed distance to the skin, (K, J, I), mm
    hu : (K, J, I) float32, changed in place
    regions : name -> boolean array (K, J, I)
    """

    lattice: Lattice
    skin: Array
    hu: Array
    regions: dict[str, Bool] = field(default_factory=dict)

    @property
    def blur_mm(self) -> float:
        """Width of the soft border between two tissues."""
        spacing = np.linalg.norm(self.lattice.affine[:3, :3], axis=0)
        return max(BLUR_MM, 0.7 * float(np.median(spacing)))

    def around(self, shapes: Sequence[Shape], margin_mm: float = 6.0) -> Box:
        """The index box that holds all the shapes."""
        bounds = np.array([shape.bounds() for shape in shapes])
        return self.lattice.box(bounds[:, 0].min(axis=0) - margin_mm, bounds[:, 1].max(axis=0) + margin_mm)

    def shape(self, box: Box, shapes: Sequence[Shape], width_mm: float = 0.0, under_mm: float = -FAR_MM) -> Array:
        """Union of shapes in a box, at least `under_mm` below the skin."""
        out = np.full(self.hu[box].shape, FAR_MM, dtype=np.float32)
        for one in shapes:
            out = blend(out, one.distance(*self.lattice.axes(box)), width_mm)
        return np.asarray(np.maximum(out, self.skin[box] + np.float32(under_mm)), dtype=np.float32)

    def paint(self, box: Box, shape: Array, value_hu: float) -> None:
        """Set HU inside a field, with a soft border."""
        share = np.clip(0.5 - shape / self.blur_mm, 0.0, 1.0)
        self.hu[box] += (np.float32(value_hu) - self.hu[box]) * share

    def name(self, name: str, box: Box, shape: Array) -> None:
        """Keep the inside of a field as a region."""
        region = self.regions.setdefault(name, np.zeros(self.lattice.shape, dtype=np.bool_))
        region[box] |= shape < 0

    def add(
        self, name: str, shapes: Sequence[Shape], value_hu: float, under_mm: float = -FAR_MM, width_mm: float = 0.0
    ) -> None:
        """Paint a union of shapes and keep it as a region; an empty name keeps nothing."""
        box = self.around(shapes)
        if is_empty(box):
            if name:
                self.regions.setdefault(name, np.zeros(self.lattice.shape, dtype=np.bool_))
            return
        found = self.shape(box, shapes, width_mm, under_mm)
        self.paint(box, found, value_hu)
        if name:
            self.name(name, box, found)


def _layers(p: HeadParameters, canvas: Canvas) -> None:
    """Air, skin, fat and muscle by depth."""
    depth = -canvas.skin
    hu = canvas.hu
    hu += np.float32(SKIN_HU - AIR_HU) * np.clip(0.5 + depth / canvas.blur_mm, 0, 1)
    hu += np.float32(FAT_HU - SKIN_HU) * np.clip((depth - 1.2) / canvas.blur_mm, 0, 1)
    hu += np.float32(MUSCLE_HU - FAT_HU) * np.clip((depth - p.fat_mm) / 2.5, 0, 1)


def _shrunk(shape: Ellipsoid, by_mm: float) -> Ellipsoid:
    rx, ry, rz = shape.radii
    return Ellipsoid(shape.center, (rx - by_mm, ry - by_mm, rz - by_mm), shape.tilt_deg)


def _skull_base(p: HeadParameters, y: Array) -> Array:
    """Height of the floor of the skull, in three steps from the front to the back, mm."""
    front = 18.0 - 26.0 * np.clip((y - 12.0) / 25.0, 0, 1)
    return np.asarray(front - 24.0 * np.clip((y - 62.0) / 25.0, 0, 1), dtype=np.float32)


def _cranium(p: HeadParameters, canvas: Canvas) -> None:
    """Skull shell, brain and frontal sinuses."""
    outer = _shrunk(cranium(p), 6.5)
    box = canvas.around([outer])
    if is_empty(box):
        canvas.regions["Brain"] = np.zeros(canvas.lattice.shape, dtype=np.bool_)
        return
    x, y, z = canvas.lattice.axes(box)
    floor = _skull_base(p, y) - z
    shell = np.maximum(outer.distance(x, y, z), floor - 5.0)
    shell = np.maximum(shell, canvas.skin[box] + 3.5)
    brain = np.maximum(_shrunk(cranium(p), 13.0).distance(x, y, z), floor)
    brain = np.maximum(brain, canvas.skin[box] + 9.0)
    canvas.paint(box, shell, 950.0)
    canvas.paint(box, np.maximum(shell + 2.0, -brain + 2.0), 520.0)
    canvas.paint(box, brain, BRAIN_HU)
    canvas.name("Brain", box, brain)
    sinus = [Ellipsoid((s * 9.0, -9.0 - 0.4 * p.forehead_forward, p.brow_height + 2), (8.0, 4.0, 8.0)) for s in SIDES]
    canvas.add("", [Ellipsoid((0.0, -5.0, p.brow_height + 2), (22.0, 11.0, 13.0))], 800.0, under_mm=5.0)
    canvas.add("Sinus_Frontal", sinus, AIR_HU, under_mm=7.5)


def _midface(p: HeadParameters, canvas: Canvas) -> None:
    """Cheekbones and upper jaw, hollowed by orbits, sinuses and the nasal cavity."""
    bone: list[Shape] = [Ellipsoid((0.0, 18.0, -38.0), (36.0, 34.0, 30.0))]
    bone += [Capsule((s * 40.0, 10.0, p.cheekbone_height), (s * (p.face_half_width - 8), 60.0, -14.0), 9.0, 5.0) for s in SIDES]
    bone += [Capsule((s * 47.0, 8.0, -16.0), (s * 49.0, 6.0, 20.0), 6.0, 6.0) for s in SIDES]
    bone += [Capsule((s * 10.0, -8.0, 18.0), (s * 47.0, 2.0, 20.0), 7.0, 6.0) for s in SIDES]
    bone += [Capsule((0.0, -10.0, 16.0), (0.0, -20.0, -12.0), 5.0, 4.0)]
    box = canvas.around(bone)
    if is_empty(box):
        return
    mass = canvas.shape(box, bone, 4.0, under_mm=4.5)
    inside = canvas.regions["Brain"][box]
    mass[inside] = FAR_MM
    orbits = [Ellipsoid((s * p.eye_x, 12.0 + p.eye_depth, 0.0), (18.0, 32.0, 17.0)) for s in SIDES]
    orbit = canvas.shape(box, orbits)
    mass = carve(mass, orbit, 2.0)
    canvas.paint(box, mass, 850.0)
    canvas.paint(box, mass + 3.5, 48.0)
    canvas.paint(box, np.maximum(orbit, canvas.skin[box] + 5.0), FAT_HU)
    canvas.add("Sinus_Maxillary", [Ellipsoid((s * 24.0, 18.0, -33.0), (11.0, 17.0, 14.0)) for s in SIDES], AIR_HU, under_mm=7.0)
    canvas.add("", [Ellipsoid((0.0, 16.0, p.mouth_z + 22.0), (20.0, 24.0, 3.0))], 700.0, under_mm=8.0)


def _airway(p: HeadParameters, canvas: Canvas) -> None:
    """Nasal cavity, pharynx, larynx and trachea."""
    top = -p.nose_drop
    cavity: list[Shape] = [Capsule((s * 5.5, -8.0, top + 18), (s * 5.5, 40.0, -25.0), 4.5, 5.0) for s in SIDES]
    cavity += [Capsule((s * 5.0, -6.0, top + 5), (s * 5.5, 38.0, -36.0), 4.5, 5.0) for s in SIDES]
    cavity += nostrils(p)
    box = canvas.around(cavity)
    if not is_empty(box):
        found = canvas.shape(box, cavity, 2.0)
        canvas.paint(box, found, AIR_HU)
        canvas.name("Cavity_Nasal", box, np.maximum(found, canvas.skin[box]))
    throat: list[Shape] = [
        Capsule((0.0, 44.0, -28.0), (0.0, 54.0, -55.0), 8.0, 7.0),
        Capsule((0.0, 54.0, -55.0), (0.0, 52.0, -95.0), 7.0, 7.5),
        Capsule((0.0, 52.0, -95.0), (0.0, 44.0, -135.0), 7.5, 7.0),
        Capsule((0.0, 44.0, -135.0), (0.0, 52.0, -260.0), 8.0, 9.0),
    ]
    canvas.add("", [Capsule((0.0, 40.0, -112.0), (0.0, 42.0, -140.0), 15.0, 14.0)], 140.0, under_mm=5.0)
    canvas.add("Airway", throat, AIR_HU)


def _mouth(p: HeadParameters, canvas: Canvas) -> None:
    """Tongue, a film of air above it, teeth and the lower jaw."""
    z = p.mouth_z
    canvas.add("Cavity_Oral", [Ellipsoid((0.0, 20.0, z + 4), (25.0, 30.0, 17.0))], 62.0, under_mm=9.0)
    canvas.add("", [Ellipsoid((0.0, 20.0, z + 15), (17.0, 20.0, 2.0))], -800.0, under_mm=12.0)
    bottom, w = -p.face_height + 15.0, p.jaw_half_width
    corner, joint = (w - 2.0, 46.0, p.jaw_height + 2), (w, 66.0, -24.0)
    bone: list[Shape] = []
    for s in SIDES:
        bone += [Capsule((0.0, -2.0 - p.chin_forward, bottom), (s * 24.0, 8.0 - p.chin_forward, bottom + 5), 8.0, 7.5)]
        bone += [Capsule((s * 24.0, 8.0 - p.chin_forward, bottom + 5), (s * corner[0], corner[1], corner[2]), 7.5, 7.0)]
        bone += [Capsule((s * corner[0], corner[1], corner[2]), (s * joint[0], joint[1], joint[2]), 6.5, 6.0)]
        bone += [Capsule((0.0, 1.0 - p.chin_forward, bottom + 12), (s * 24.0, 14.0 - p.chin_forward, z - 9), 6.0, 6.0)]
    box = canvas.around(bone)
    if not is_empty(box):
        mass = canvas.shape(box, bone, 3.0, under_mm=5.5)
        canvas.paint(box, mass, 1150.0)
        canvas.paint(box, mass + 2.5, 450.0)
    teeth = list(_teeth(p))
    canvas.add("Teeth", teeth, 1700.0, under_mm=5.0)
    canvas.regions["Bone_Mandible"] = np.zeros(canvas.lattice.shape, dtype=np.bool_)
    if not is_empty(box):
        canvas.name("Bone_Mandible", box, mass)


def _teeth(p: HeadParameters) -> list[Shape]:
    """Two arches of fourteen teeth."""
    out: list[Shape] = []
    for row, height in ((4.5, 6.0), (-5.5, 6.0)):
        for n in range(-7, 7):
            a = (n + 0.5) / 7.0
            x, y = 25.0 * np.sin(1.35 * a), -13.0 - 0.3 * p.midface_forward + 40.0 * (1 - np.cos(1.25 * a))
            size = 3.0 + 1.4 * abs(a)
            out.append(Ellipsoid((float(x), float(y), p.mouth_z + row), (size, size, height)))
    return out


def _spine(canvas: Canvas) -> None:
    """Vertebrae with discs, the canal, cord and brainstem."""
    bodies: list[Shape] = [Ellipsoid((0.0, 82.0 + 0.03 * n * 18, -48.0 - 18.0 * n), (14.0, 10.0, 8.5)) for n in range(11)]
    arches: list[Shape] = [Ellipsoid((0.0, 104.0, -50.0 - 18.0 * n), (21.0, 15.0, 6.5)) for n in range(11)]
    arches += [Capsule((0.0, 114.0, -54.0 - 18.0 * n), (0.0, 126.0 + 2 * n, -60.0 - 18.0 * n), 4.0, 3.5) for n in range(1, 11)]
    canvas.add("", bodies, 420.0, under_mm=12.0)
    canvas.add("", arches, 600.0, under_mm=8.0)
    canvas.add("", [Capsule((0.0, 99.0, -40.0), (0.0, 100.0, -260.0), 9.0, 9.0)], 5.0)
    canvas.add("BrainStem", [Capsule((0.0, 68.0, -2.0), (0.0, 88.0, -36.0), 13.0, 8.0)], 32.0)
    canvas.add("SpinalCord", [Capsule((0.0, 97.0, -46.0), (0.0, 100.0, -260.0), 5.5, 5.0)], 38.0)
    canvas.regions["Brain"] &= ~canvas.regions["BrainStem"]


def _eyes(p: HeadParameters, canvas: Canvas) -> None:
    """Globes, lenses, optic nerves and the four straight muscles of each eye."""
    for s, side in zip(SIDES, ("L", "R"), strict=True):
        x, y = s * p.eye_x, p.eye_depth
        back, apex = (x, y + 11.0, 0.0), (s * 15.0, 40.0, 3.0)
        for dx, dz in ((9.0, 0.0), (-9.0, 0.0), (0.0, 9.0), (0.0, -9.0)):
            canvas.add("", [Capsule((x + dx, y + 6.0, dz), apex, 2.0, 1.5)], 48.0)
        canvas.add(f"OpticNrv_{side}", [Capsule(back, apex, 2.3, 2.2), Capsule(apex, (s * 7.0, 50.0, 4.0), 2.2, 2.2)], 30.0)
        canvas.add(f"Eye_{side}", [Ellipsoid((x, y, 0.0), (12.0, 12.0, 12.0))], 12.0)
        canvas.add(f"Lens_{side}", [Ellipsoid((x, y - 7.5, 0.0), (4.6, 2.2, 4.6))], 85.0)


def node_center(p: HeadParameters, surface: Point) -> Point:
    """Centre of the level IX node in the cheek, whose near side lies 5 to 6 mm below the skin point `surface`."""
    return (surface[0], surface[1] + 10.8, surface[2])


def _glands(p: HeadParameters, canvas: Canvas) -> None:
    """Parotid and submandibular glands."""
    w = p.face_half_width
    for s, side in zip(SIDES, ("L", "R"), strict=True):
        shapes: list[Shape] = [
            Ellipsoid((s * (w - 9), 64.0, -32.0), (11.0, 17.0, 27.0)),
            Ellipsoid((s * (w - 16), 72.0, -40.0), (12.0, 11.0, 18.0)),
        ]
        canvas.add(f"Parotid_{side}", shapes, -5.0, under_mm=4.0, width_mm=5.0)
        gland: list[Shape] = [Ellipsoid((s * 24.0, 36.0, -p.face_height + 22.0), (10.0, 16.0, 11.0))]
        canvas.add(f"Glnd_Submand_{side}", gland, 42.0, under_mm=6.0)


def target_shapes(p: HeadParameters) -> list[Shape]:
    """The planning target: left oropharynx and the left upper neck nodes."""
    return [
        Ellipsoid((14.0, 46.0, -74.0), (22.0, 21.0, 24.0)),
        Ellipsoid((34.0, 66.0, -92.0), (14.0, 17.0, 22.0)),
    ]


def _targets(p: HeadParameters, canvas: Canvas) -> None:
    """Gross tumour, a level II node, and the PTV around both (drawn, not painted)."""
    canvas.add("GTVp", [Ellipsoid((15.0, 44.0, -74.0), (11.0, 12.0, 13.0))], 68.0, under_mm=8.0)
    canvas.add("LN_Neck_II_L", [Ellipsoid((33.0, 66.0, -92.0), (7.0, 8.0, 11.0))], 62.0, under_mm=8.0)
    shapes = target_shapes(p)
    box = canvas.around(shapes)
    canvas.regions["PTV70"] = np.zeros(canvas.lattice.shape, dtype=np.bool_)
    if not is_empty(box):
        canvas.name("PTV70", box, canvas.shape(box, shapes, 8.0, under_mm=5.0))


def fill(p: HeadParameters, lattice: Lattice, skin: Array, node: Point) -> Canvas:
    """Everything under the skin: HU without texture, and the named regions.

    Parameters
    ----------
    skin : signed distance to the skin on the lattice, mm
    node : centre of the level IX node in the head frame
    """
    canvas = Canvas(lattice, skin, np.full(lattice.shape, AIR_HU, dtype=np.float32))
    _layers(p, canvas)
    _cranium(p, canvas)
    _midface(p, canvas)
    _mouth(p, canvas)
    _spine(canvas)
    _glands(p, canvas)
    _targets(p, canvas)
    _airway(p, canvas)
    _eyes(p, canvas)
    canvas.add("", [Ellipsoid(node, (11.0, 9.0, 11.0))], FAT_HU, under_mm=2.5)
    canvas.add("LN_Neck_IX_L", [Ellipsoid(node, (4.0, 3.5, 4.5))], 55.0)
    canvas.regions["BODY"] = skin < 0
    return canvas
