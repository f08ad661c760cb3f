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
    scale: float = _spread(1.0, 0.025)
    head_width: float = _spread(152.0, 6.0)
    head_length: float = _spread(188.0, 7.0)
    vault_height: float = _spread(112.0, 6.0)
    forehead_forward: float = _spread(0.0, 3.5)
    forehead_width: float = _spread(0.0, 3.5)
    temple_hollow: float = _spread(3.0, 1.5)
    brow_height: float = _spread(19.0, 2.5)
    brow_ridge: float = _spread(4.0, 2.0)
    brow_tilt_deg: float = _spread(0.0, 7.0)
    glabella: float = _spread(1.5, 1.5)
    globe_distance: float = _spread(63.0, 2.6)
    eye_depth: float = _spread(0.0, 2.5)
    socket_depth: float = _spread(8.0, 2.2)
    fissure_length: float = _spread(30.0, 2.2)
    fissure_height: float = _spread(9.5, 1.8)
    fissure_tilt_deg: float = _spread(3.0, 4.0)
    lid_fullness: float = _spread(0.0, 1.2)
    eye_bags: float = _spread(1.0, 0.9)
    nose_drop: float = _spread(39.0, 4.0)
    nose_forward: float = _spread(41.5, 3.6)
    nose_tip_up: float = _spread(0.0, 2.5)
    nose_tip_width: float = _spread(8.0, 1.3)
    nose_hump: float = _spread(0.5, 1.6)
    nose_bend: float = _spread(0.0, 1.3)
    bridge_forward: float = _spread(19.0, 2.5)
    bridge_width: float = _spread(6.0, 1.2)
    bridge_height: float = _spread(2.0, 2.0)
    ala_half_width: float = _spread(16.5, 2.2)
    ala_height: float = _spread(7.0, 1.0)
    midface_forward: float = _spread(0.0, 3.0)
    cheekbone: float = _spread(4.0, 1.8)
    cheekbone_height: float = _spread(-22.0, 4.0)
    cheek_fullness: float = _spread(0.0, 3.5)
    face_half_width: float = _spread(65.0, 3.6)
    nasolabial_fold: float = _spread(1.2, 0.8)
    philtrum_height: float = _spread(22.0, 2.8)
    philtrum_depth: float = _spread(1.3, 0.5)
    mouth_half_width: float = _spread(25.0, 2.8)
    mouth_curve: float = _spread(0.0, 1.6)
    lip_forward: float = _spread(0.0, 2.2)
    lip_upper: float = _spread(3.2, 1.2)
    lip_lower: float = _spread(4.0, 1.3)
    face_height: float = _spread(115.0, 6.0)
    chin_forward: float = _spread(0.0, 3.5)
    chin_half_width: float = _spread(14.0, 3.5)
    chin_fold: float = _spread(3.0, 1.3)
    jaw_half_width: float = _spread(50.0, 4.5)
    jaw_height: float = _spread(-72.0, 5.0)
    jaw_fullness: float = _spread(0.0, 2.5)
    ear_height: float = _spread(62.0, 4.5)
    ear_flare_deg: float = _spread(24.0, 7.0)
    neck_half_width: float = _spread(56.0, 4.0)
    fat_mm: float = _spread(4.5, 1.0)
    unevenness: float = _spread(1.2, 0.25)

    @classmethod
    def draw(cls, seed: int, strength: float = 1.0) -> HeadParameters:
        """Somebody: every length from its spread, cut at 2.2 deviations; the same seed is the same person.

        Parameters
        ----------
        strength : 0 is the average head, 1 the usual spread.
        """
        rng = np.random.default_rng([seed, 20])
        drawn: dict[str, float] = {}
        for item in fields(cls):
            if "deviation" in item.metadata:
                share = float(np.clip(rng.normal(), -2.2, 2.2)) * strength
                drawn[item.name] = float(item.default) + share * item.metadata["deviation"]  # type: ignore[arg-type]
        return cls(seed=seed, **drawn)

    @property
    def eye_x(self) -> float:
        """Distance of a globe centre from the middle plane, mm."""
        return self.globe_distance / 2

    @property
    def subnasale_z(self) -> float:
        """Height of the point where the nose meets the upper lip, mm."""
        return -self.nose_drop - 10.0

    @property
    def mouth_z(self) -> float:
        """Height of the line between the lips, mm."""
        return self.subnasale_z - self.philtrum_height
