"""What makes one head differ from another: named lengths and angles, each drawn from its own spread."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np


def _spread(mean: float, deviation: float) -> Any:
    return field(default=mean, metadata={"deviation": deviation})


@dataclass(frozen=True)
class HeadParameters:
    """One person, mm and degrees in the head frame (origin midway between the globe centres, y posterior).

    The defaults are an average adult; `draw` makes somebody. `seed` also fixes the random fields of shape and texture.
    """

    seed: int = 0
    scale: float = _spread(1.0, 0.03)
    head_width: float = _spread(152.0, 7.0)
    head_length: float = _spread(188.0, 8.0)
    vault_height: float = _spread(111.0, 6.0)
    vault_squareness: float = _spread(0.0, 4.0)
    forehead_forward: float = _spread(0.0, 4.0)
    forehead_width: float = _spread(0.0, 4.5)
    forehead_lines: float = _spread(0.1, 0.2)
    temple_hollow: float = _spread(3.0, 2.0)
    brow_height: float = _spread(19.7, 3.2)
    brow_ridge: float = _spread(4.5, 3.0)
    brow_thickness: float = _spread(4.5, 1.0)
    brow_tilt_deg: float = _spread(0.0, 9.0)
    glabella: float = _spread(1.5, 2.4)
    globe_distance: float = _spread(63.0, 3.0)
    eye_depth: float = _spread(0.0, 1.6)
    socket_depth: float = _spread(8.0, 3.2)
    fissure_length: float = _spread(30.0, 2.6)
    fissure_height: float = _spread(9.5, 2.6)
    fissure_tilt_deg: float = _spread(3.0, 5.0)
    lid_fullness: float = _spread(0.0, 1.2)
    lid_crease_height: float = _spread(4.5, 1.4)
    lid_crease_depth: float = _spread(1.3, 0.8)
    eye_bags: float = _spread(0.8, 0.8)
    nose_drop: float = _spread(38.0, 4.6)
    nose_forward: float = _spread(37.0, 2.8)
    nose_tip_up: float = _spread(0.0, 3.0)
    nose_tip_width: float = _spread(7.8, 1.5)
    nose_hump: float = _spread(0.5, 2.0)
    nose_bend: float = _spread(0.0, 1.7)
    bridge_forward: float = _spread(18.5, 3.2)
    bridge_width: float = _spread(6.3, 1.8)
    bridge_height: float = _spread(2.0, 2.5)
    ala_half_width: float = _spread(17.5, 3.2)
    ala_height: float = _spread(7.0, 1.2)
    midface_forward: float = _spread(0.0, 3.0)
    cheekbone: float = _spread(3.5, 2.2)
    cheekbone_height: float = _spread(-22.0, 4.5)
    cheek_fullness: float = _spread(0.0, 3.5)
    face_half_width: float = _spread(63.0, 4.0)
    nasolabial_fold: float = _spread(1.3, 1.0)
    mouth_share: float = _spread(0.32, 0.03)
    philtrum_depth: float = _spread(1.2, 0.6)
    mouth_half_width: float = _spread(25.0, 3.8)
    mouth_curve: float = _spread(0.0, 2.0)
    lip_forward: float = _spread(0.0, 2.0)
    lip_upper: float = _spread(4.0, 1.3)
    lip_lower: float = _spread(4.8, 1.4)
    face_height: float = _spread(115.0, 6.0)
    chin_forward: float = _spread(0.0, 4.0)
    chin_half_width: float = _spread(13.0, 4.0)
    chin_fold: float = _spread(3.0, 1.5)
    jaw_half_width: float = _spread(41.0, 3.5)
    jaw_height: float = _spread(-70.0, 5.0)
    jaw_fullness: float = _spread(0.0, 1.5)
    jowls: float = _spread(0.5, 1.2)
    ear_height: float = _spread(62.0, 5.0)
    ear_flare_deg: float = _spread(24.0, 8.0)
    neck_half_width: float = _spread(53.0, 4.0)
    fat_mm: float = _spread(4.5, 1.0)
    unevenness: float = _spread(1.5, 0.25)

    @classmethod
    def draw(cls, seed: int, strength: float = 1.0) -> HeadParameters:
        """Somebody: every length evenly within two deviations of its mean; the same seed is the same person.

        Parameters
        ----------
        strength : 0 is the average head, 1 the usual spread.
        """
        rng = np.random.default_rng([seed, 20])
        drawn: dict[str, float] = {}
        for item in fields(cls):
            if "deviation" in item.metadata:
                share = float(rng.uniform(-2.0, 2.0)) * strength
                drawn[item.name] = float(item.default) + share * item.metadata["deviation"]  # type: ignore[arg-type]
        return cls(seed=seed, **drawn)

    @property
    def eye_x(self) -> float:
        """Distance of a globe centre from the middle plane, mm."""
        return self.globe_distance / 2

    @property
    def subnasale_z(self) -> float:
        """Height of the point where the nose meets the upper lip, mm."""
        return -self.nose_drop - 12.0

    @property
    def mouth_z(self) -> float:
        """Height of the line between the lips, mm."""
        return self.subnasale_z - self.mouth_share * (self.face_height + self.subnasale_z)
