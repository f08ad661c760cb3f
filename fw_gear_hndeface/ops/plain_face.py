"""A plain face: one smooth surface of a head's size and curvature that is nobody's, the same for everybody."""

from __future__ import annotations

import numpy as np

from fw_gear_hndeface.ops.relief import Map, Rays, positions

#: Length by which positions are divided before powers are taken, mm.
UNIT_MM = 50.0
#: Exponents (a, b) of the terms x^2a z^b: even in x, so that left and right are alike.
POWERS = tuple((a, b) for a in range(3) for b in range(5) if 2 * a + b <= 5)
#: Depth of each term, mm at scale 1, fitted to the mean of 40 synthetic heads: `scripts/fit_plain_face`.
COEFFICIENTS_MM = (-24.67, -11.07, -1.67, 5.06, 2.45, 17.60, 0.24, 2.65, -3.11, 3.74, 4.45)
#: Beyond these the surface goes on as at its end, mm at scale 1: a polynomial runs away outside what it was fitted to.
MOST_X_MM, LEAST_Z_MM, MOST_Z_MM = 85.0, -125.0, 60.0


def plain_face(rays: Rays) -> Map:
    """Frame y of the plain face on every ray, mm, at the size of the rays' head frame."""
    scale = rays.frame.scale
    x, z = positions(rays)
    x = np.clip(x / scale, -MOST_X_MM, MOST_X_MM) / UNIT_MM
    z = np.clip(z / scale, LEAST_Z_MM, MOST_Z_MM) / UNIT_MM
    terms = (depth * x ** (2 * a) * z**b for depth, (a, b) in zip(COEFFICIENTS_MM, POWERS, strict=True))
    return np.asarray(scale * sum(terms))
