"""The skin of a parametric head as one signed field: base shapes, relief of the face, nose, lids and ears."""

from __future__ import annotations

import numpy as np

from fw_gear_hndeface.synthetic.field import (
    FAR_MM,
    Array,
    Box,
    Capsule,
    Ellipsoid,
    Lattice,
    Shape,
    Waves,
    blend,
    bump,
    carve,
    is_empty,
    ramp,
)
from fw_gear_hndeface.synthetic.parameters import HeadParameters

SIDES = (1.0, -1.0)


def cranium(p: HeadParameters) -> Ellipsoid:
    """The vault of the head, skin included."""
    front, rz = -21.0 - 0.5 * p.forehead_forward, 0.72 * p.vault_height
    ry = p.head_length / 2
    return Ellipsoid((0.0, front + ry, p.vault_height - rz), (p.head_width / 2, ry, rz))


def base_shapes(p: HeadParameters) -> list[tuple[Shape, float]]:
    """Shapes of head, face, neck and shoulders, each with the width over which it melts into the ones before, mm."""
    w, m, bottom = p.face_half_width, p.midface_forward, -p.face_height
    shapes: list[tuple[Shape, float]] = [
        (cranium(p), 0.0),
        (Ellipsoid((0.0, 88.0, 48.0), (58.0 + p.vault_squareness, 70.0, 52.0 + 0.5 * p.vault_squareness)), 20.0),
        (Ellipsoid((0.0, 16.0 - p.forehead_forward, 40.0), (52.0 + p.forehead_width, 38.0, 42.0)), 16.0),
        (Ellipsoid((0.0, 42.0, -35.0), (w, 54.0 + m, 62.0)), 14.0),
        (Ellipsoid((0.0, 23.5, -68.0), (38.0, 43.5 + m, 40.0)), 13.0),
        (Ellipsoid((0.0, 6.0 - p.chin_forward, bottom + 17.0), (p.chin_half_width + 9, 23.0, 17.0)), 14.0),
    ]
    for s in SIDES:
        gonion = (s * p.jaw_half_width, 44.0, p.jaw_height)
        chin = (s * p.chin_half_width, 8.0 - p.chin_forward, bottom + 15.0)
        shapes += [
            (Capsule(chin, gonion, 13.0, 13.0 + p.jaw_fullness), 14.0),
            (Capsule(gonion, (s * (w - 13), 58.0, -22.0), 13.0 + p.jaw_fullness, 14.0), 14.0),
            (Ellipsoid((s * 41.0, 22.0, p.cheekbone_height), (24.0, 25.0 + p.cheekbone, 17.0)), 14.0),
            (Ellipsoid((s * (w - 24.0), 44.0, -50.0), (20.0, 28.0, 38.0)), 16.0),
            (Ellipsoid((s * 40.0, 26.0, -52.0), (20.0 + p.cheek_fullness, 24.0 + p.cheek_fullness, 26.0)), 14.0),
            (Ellipsoid((s * 25.0, 8.0, p.brow_height - 1), (27.0, 22.0 + p.brow_ridge, 10.0)), 12.0),
        ]
    n = p.neck_half_width
    shapes += [
        (Capsule((0.0, 84.0, -20.0), (0.0, 84.0, -240.0), n, n + 2), 16.0),
        (Capsule((0.0, 52.0, -110.0), (0.0, 64.0, -240.0), 30.0, 36.0), 20.0),
        (Ellipsoid((0.0, 88.0, -262.0), (170.0, 72.0, 92.0)), 40.0),
    ]
    return shapes


def relief(p: HeadParameters, x: Array, z: Array) -> Array:
    """How far the features of the face stand out towards the front, mm, over x and z."""
    height = np.zeros(np.broadcast_shapes(x.shape, z.shape), dtype=np.float32)
    for s in SIDES:
        u = s * x
        height = height + _eye_relief(p, u, z) + _cheek_relief(p, u, z)
    return np.asarray(height + _mouth_relief(p, x, z) + _middle_relief(p, x, z), dtype=np.float32)


def _eye_relief(p: HeadParameters, u: Array, z: Array) -> Array:
    """One orbit: the hollow of the socket, brow and temple; `u` grows towards the outside."""
    inner = bump(u - 0.5 * p.eye_x - 2, z + 1, (6.0, 9.0))
    socket = bump(u - p.eye_x, z - 1, (13.0, 8.5))
    brow = bump(u - p.eye_x + 2, z - p.brow_height, (15.0, p.brow_thickness), p.brow_tilt_deg)
    temple = bump(u - 64.0, z - 22.0, (12.0, 18.0))
    bag = bump(u - p.eye_x + 2, z + 15.0, (10.0, 3.0), -8.0)
    return np.asarray(
        -p.socket_depth * socket - 0.45 * p.socket_depth * inner + 0.5 * p.brow_ridge * brow
        - p.temple_hollow * temple + p.eye_bags * bag, dtype=np.float32,
    )  # fmt: skip


def _cheek_relief(p: HeadParameters, u: Array, z: Array) -> Array:
    """Fold from the ala to beside the mouth, and the hollow under the cheekbone."""
    along = (-p.nose_drop - 2 - z) / 28.0
    path = p.ala_half_width + 4.0 + 13.0 * np.clip(along, -0.3, 1.3)
    strength = np.exp(-((np.abs(along - 0.5) / 0.55) ** 3))
    fold = np.exp(-0.5 * ((u - path) / 2.6) ** 2) * strength
    pouch = bump(u - path - 9, z + p.nose_drop + 14, (8.0, 12.0))
    hollow = bump(u - 44.0, z + 62.0, (10.0, 14.0))
    jowl = bump(u - 34.0, z - p.mouth_z + 12.0, (9.0, 9.0))
    return np.asarray(
        -p.nasolabial_fold * fold + 0.6 * p.nasolabial_fold * pouch - (1.5 - 0.4 * p.cheek_fullness) * hollow + p.jowls * jowl
    )


def _mouth_relief(p: HeadParameters, x: Array, z: Array) -> Array:
    """Lips, the line between them, and the corners of the mouth."""
    half = p.mouth_half_width
    line = p.mouth_z + p.mouth_curve * (x / half) ** 2
    d, reach = z - line, np.exp(-((x / (1.02 * half)) ** 8))
    muzzle = (1.5 + p.lip_forward) * bump(x, d, (22.0, 15.0))
    bow = np.exp(-0.5 * ((np.abs(x) - 5.5) / 9.0) ** 2)
    taper = np.sqrt(np.clip(1.0 - (x / (1.02 * half)) ** 2, 0.02, None)) * reach
    top, bottom = (0.4 + 0.6 * bow) * (taper + 0.05) * (1.6 * p.lip_upper + 1.0), (taper + 0.05) * (1.7 * p.lip_lower + 1.0)
    upper = (1.4 + 0.5 * p.lip_upper) * np.exp(-((np.abs(d - 0.5 * top) / (0.62 * top)) ** 3)) * taper
    lower = (1.6 + 0.5 * p.lip_lower) * np.exp(-((np.abs(d + 0.5 * bottom) / (0.62 * bottom)) ** 3)) * taper
    groove = 3.0 * np.exp(-0.5 * (d / 1.3) ** 2) * reach
    corner = 1.8 * (bump(x - half, d, (3.5, 3.5)) + bump(x + half, d, (3.5, 3.5)))
    return np.asarray(muzzle + upper + lower - groove - corner, dtype=np.float32)


def _middle_relief(p: HeadParameters, x: Array, z: Array) -> Array:
    """Glabella, philtrum, the fold above the chin, and the chin's own hill."""
    glabella = p.glabella * bump(x, z - p.brow_height, (11.0, 8.0))
    mid = 0.5 * (p.subnasale_z + p.mouth_z) + 1
    philtrum = bump(x, z - mid, (2.4, 5.5)) * p.philtrum_depth
    ridges = 0.7 * p.philtrum_depth * (bump(x - 5.5, z - mid, (2.2, 6.0)) + bump(x + 5.5, z - mid, (2.2, 6.0)))
    fold = p.chin_fold * bump(x, z - p.mouth_z + 14.0, (17.0, 4.5))
    chin = 2.0 * bump(x, z + p.face_height - 15.0, (13.0, 8.0))
    lines = p.forehead_lines * np.sin((z - 0.004 * x**2) * (2 * np.pi / 9.5)) * bump(x, z - p.brow_height - 26.0, (26.0, 11.0))
    return np.asarray(glabella + ridges - philtrum - fold + chin + lines, dtype=np.float32)


def _base(p: HeadParameters, lattice: Lattice) -> Array:
    """Base shapes, with the face's relief pushed in from the front."""
    shapes = base_shapes(p)
    skin = np.full(lattice.shape, FAR_MM, dtype=np.float32)
    for shape, width in shapes:
        low, high = shape.bounds()
        box = lattice.box(low - 25 - width, high + 25 + width)
        if not is_empty(box):
            skin[box] = blend(skin[box], shape.distance(*lattice.axes(box)), width)
    box = lattice.box((-85.0, -70.0, -150.0), (85.0, 42.0, 100.0))
    if is_empty(box):
        return skin
    x, y, z = lattice.axes(box)
    warped = y + relief(p, x, z) * ramp(y, 40.0, 10.0)
    front = np.full(warped.shape, FAR_MM, dtype=np.float32)
    for shape, width in shapes:
        front = blend(front, shape.distance(x, warped, z), width)
    weight = np.broadcast_to((y <= 42.0), warped.shape)
    skin[box] = np.where(weight, front, skin[box])
    return skin


def nose_shapes(p: HeadParameters) -> list[tuple[Shape, float]]:
    """Bridge, tip, columella and alae."""
    drop, fwd, r = p.nose_drop, p.nose_forward, p.nose_tip_width
    root = (0.0, -p.bridge_forward + p.bridge_width, p.bridge_height)
    tip = (p.nose_bend, -fwd + r, -drop + 0.3 * p.nose_tip_up)
    mid_y = 0.5 * (root[1] + tip[1]) - p.nose_hump - 0.5
    middle = (0.8 * p.nose_bend, mid_y, 0.5 * (root[2] + tip[2]))
    base = (0.0, -fwd + 2.0 * r + 6, -drop - 6.0 + 0.6 * p.nose_tip_up)
    shapes: list[tuple[Shape, float]] = [
        (Capsule(root, middle, p.bridge_width, p.bridge_width + 1.0), 7.0),
        (Capsule(middle, tip, p.bridge_width + 1.0, r - 1), 6.0),
        (Ellipsoid(tip, (r + 1.0, r, 0.9 * r)), 5.0),
        (Capsule((0.0, tip[1] + 2, tip[2] - 3), base, 4.0, 4.5), 4.0),
        (Ellipsoid((0.0, -12.0, -drop * 0.75), (0.75 * p.ala_half_width, 17.0, 17.0)), 10.0),
    ]
    for s in SIDES:
        near = (s * 0.3 * p.ala_half_width, -fwd + 11.5, -drop - 1.0)
        wing = (s * (p.ala_half_width - 5.5), -fwd + 21.0, -drop - 4.0)
        shapes.append((Capsule(near, wing, 5.0, 0.8 * p.ala_height), 5.0))
    return shapes


def nostrils(p: HeadParameters) -> list[Shape]:
    """The two openings, from below the tip up into the nasal cavity."""
    y, z = -p.nose_forward + 15.5, -p.nose_drop - 9.0 + 0.4 * p.nose_tip_up
    x = 0.43 * p.ala_half_width
    return [Capsule((s * x, y, z - 2.0), (s * x * 0.75, y + 9, z + 16.0), 3.4, 3.0) for s in SIDES]


def _add_nose(p: HeadParameters, lattice: Lattice, skin: Array) -> None:
    box = lattice.box((-40.0, -75.0, -80.0), (40.0, 30.0, 30.0))
    if is_empty(box):
        return
    x, y, z = lattice.axes(box)
    part = skin[box]
    for shape, width in nose_shapes(p):
        part = blend(part, shape.distance(x, y, z), width)
    for hole in nostrils(p):
        part = carve(part, hole.distance(x, y, z), 1.5)
    skin[box] = part


def _add_eyes(p: HeadParameters, lattice: Lattice, skin: Array) -> None:
    """Lids over each globe, and the opening between them."""
    for s in SIDES:
        cx, cy = s * p.eye_x, p.eye_depth
        box = lattice.box((cx - 34, cy - 34, -26.0), (cx + 34, cy + 22, 26.0))
        if is_empty(box):
            continue
        x, y, z = lattice.axes(box)
        u = s * (x - np.float32(cx))
        lid = Ellipsoid((cx, cy, 0.0), (14.6 + p.lid_fullness, 14.4, 13.4 + p.lid_fullness)).distance(x, y, z)
        filling = Ellipsoid((cx + 3.0 * s, cy + 9.0, 0.0), (19.0, 15.0, 14.0)).distance(x, y, z)
        part = blend(blend(skin[box], filling, 8.0), lid, 5.0)
        part = part + _lid_relief(p, u, z) * ramp(y, cy + 6.0, cy - 4.0)
        globe = Ellipsoid((cx, cy, 0.0), (12.6, 12.6, 12.6)).distance(x, y, z)
        skin[box] = np.minimum(part, globe)


def _lid_relief(p: HeadParameters, u: Array, z: Array) -> Array:
    """Depth of the opening between the lids and of the crease above it, mm (positive is inwards)."""
    tilt = np.float32(np.tan(np.radians(p.fissure_tilt_deg)))
    half = p.fissure_length / 2
    v, t = z - tilt * u + 0.5, np.clip(1 - (u / half) ** 2, 0.0, None)
    top, bottom = 0.55 * p.fissure_height * np.sqrt(t), -0.45 * p.fissure_height * t
    opening = np.clip((top - v) / 1.2, 0, 1) * np.clip((v - bottom) / 1.2, 0, 1) * (t > 0)
    crease_at = 0.55 * p.fissure_height * np.sqrt(np.clip(1 - (u / (half + 4)) ** 2, 0, None)) + p.lid_crease_height
    crease = np.exp(-0.5 * ((v - crease_at) / 1.3) ** 2) * np.exp(-((u / (half + 2)) ** 4))
    return np.asarray(2.2 * opening + p.lid_crease_depth * crease, dtype=np.float32)


def ear_center(p: HeadParameters, side: float) -> tuple[float, float, float]:
    """Where the ear grows out of the head."""
    return (side * max(p.face_half_width + 3.0, 0.42 * p.head_width + 4.0), 84.0, -12.0)


def _add_ears(p: HeadParameters, lattice: Lattice, skin: Array) -> None:
    """A flat leaf with a rim, a hollow concha and a canal."""
    for s in SIDES:
        cx, cy, cz = ear_center(p, s)
        box = lattice.box((cx - 40, cy - 45, cz - 50), (cx + 40, cy + 45, cz + 50))
        if is_empty(box):
            continue
        x, y, z = lattice.axes(box)
        angle = np.radians(p.ear_flare_deg)
        c, sn = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        u, v, w = s * (x - np.float32(cx)), y - np.float32(cy), z - np.float32(cz)
        out, back = c * u - sn * v, sn * u + c * v
        half = p.ear_height / 2
        leaf = Ellipsoid((5.0, 8.0, 0.0), (4.5, 0.56 * half, half), 12.0).distance(out, back, w)
        bowl = Ellipsoid((10.0, 7.0, 0.0), (6.0, 0.40 * half, 0.74 * half), 12.0).distance(out, back, w)
        concha = Ellipsoid((7.0, 1.0, -3.0), (8.0, 8.0, 10.0)).distance(out, back, w)
        root = Ellipsoid((0.0, 4.0, -2.0), (9.0, 9.0, 0.6 * half)).distance(out, back, w)
        tragus = Ellipsoid((3.0, -8.0, -3.0), (4.0, 3.5, 6.0)).distance(out, back, w)
        ear = carve(carve(blend(leaf, root, 6.0), bowl, 2.5), concha, 2.0)
        skin[box] = blend(skin[box], blend(ear, tragus, 2.0), 4.0)


def skin_distance(p: HeadParameters, lattice: Lattice) -> Array:
    """Signed distance to the skin on a lattice, (K, J, I), mm; negative inside, about exact near the surface.

    Parameters
    ----------
    lattice : positions in the head frame of a head of scale one
    """
    skin = _base(p, lattice)
    rng = np.random.default_rng([p.seed, 21])
    box: Box = lattice.whole()
    uneven = Waves.draw(rng, 20.0, p.unevenness).on(lattice, box) + Waves.draw(rng, 8.0, 0.2 * p.unevenness).on(lattice, box)
    skin += uneven * ramp(lattice.axes(box)[2], 70.0, 10.0) + Waves.draw(rng, 45.0, p.unevenness).on(lattice, box)
    _add_nose(p, lattice, skin)
    _add_eyes(p, lattice, skin)
    _add_ears(p, lattice, skin)
    return skin
