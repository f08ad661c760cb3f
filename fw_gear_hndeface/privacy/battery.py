"""The whole battery of attacks on one head, and what each shows: the old surface, the old identity, or any face at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from fw_gear_hndeface.model import Bool, Float, Landmarks
from fw_gear_hndeface.ops.parts import part_zones
from fw_gear_hndeface.ops.relief import Map, without_cuts
from fw_gear_hndeface.privacy.attacks import ATTACKS, PLAIN_SKIN, Attack, Exposed, Guess, skin_guess
from fw_gear_hndeface.privacy.check import STRANGER_SHARE, View, likenesses
from fw_gear_hndeface.privacy.match import Looks, Match, look_at, match
from fw_gear_hndeface.privacy.shape import (
    SHOWN_PARTS,
    SHOWN_SHARE,
    FaceSign,
    SurfaceError,
    blind_guess,
    face_sign,
    surface_error,
)
from fw_gear_hndeface.privacy.slopes import (
    BEYOND_OF_FACE,
    SHOWN_Z,
    SHOWN_Z_OF_FACE,
    SHOWN_Z_OF_MANY,
    ShapeMatch,
    match_shape,
    slopes,
)

#: Guesses of one attack that are looked at by the recogniser: those that show most.
LOOKED_AT = 2
LOOKED_AT_INNER = 1
#: Two guesses whose reliefs differ by less than this almost everywhere are one and the same, mm.
SAME_MM = 0.75
#: Share of stranger pairs as near, below which an attack has matched. Many attacks are tried, so one hit by chance at the
#: pipeline's 5 % would come in every other head; the plain skin is held to the pipeline's own share.
MATCHED_SHARE = 0.01
#: A relief with at least this correlation and height is a natural face, or a natural nose, whatever a detector says. Mouths and
#: eyes alone are no sign: smooth surfaces over a jaw or a brow stand out as they do. Results of the default reach 0.68, 0.75.
NATURAL = {"face": FaceSign(0.72, 0.65), "nose": FaceSign(0.72, 0.65)}
#: The same for guesses that were moved by more than this, mm, where the default's results reach 0.79 with 0.70.
NEAR_MM = 10.0
NATURAL_FAR = {"face": FaceSign(0.82, 0.73), "nose": FaceSign(0.8, 0.75)}
#: Attacks whose surfaces are rough.
ROUGH = ("fill_texture", "dose edge")
#: No face stands out more than so many mean faces; rough fills do.
HIGHEST = 1.8
#: A face that the detector sees with this score counts on a relief that is less of one, and lower: faces under wide smoothing
#: or blocks are. On results of the default it scores at most 0, and 0.2 on guesses that were moved far.
SEEN_SCORE, SEEN_SCORE_FAR, SEEN = 0.1, 0.5, FaceSign(0.6, 0.45)


@dataclass(frozen=True, eq=False)
class Original:
    """What is known of the original by whoever measures: its relief and slopes, the zone that identifies, and its views."""

    relief: Map
    zone: Bool
    blind: Map
    parts: Mapping[str, tuple[Bool, Map]]
    views: Sequence[View]
    slopes: Float | None = None


@dataclass(frozen=True, eq=False)
class Exposure:
    """What one guess shows. `looks` stays empty where a better guess of the same attack spoke already.

    `signs` are of the whole face and the nose; `recovered` is the share of each part's own relief that it holds; `shape` says
    how far its `slopes` are the original's.
    """

    attack: str
    label: str
    inner: bool
    signs: Mapping[str, FaceSign]
    error: SurfaceError | None = None
    recovered: Mapping[str, float] = field(default_factory=dict)
    match: Match | None = None
    looks: Looks | None = None
    guess: Guess | None = None
    slopes: Float | None = None
    shape: ShapeMatch | None = None

    @property
    def score(self) -> float:
        """Best detector score; NaN where no face was found or none looked for."""
        return self.looks.score if self.looks is not None else np.nan

    @property
    def is_plain_skin(self) -> bool:
        """Whether this is the surface that a run itself checks, and no try among many."""
        return self.attack == "skin" and self.label == PLAIN_SKIN

    @property
    def shows(self) -> tuple[str, ...]:
        """What it gives away. Inner surfaces stay by design: nothing.

        Against the original: "surface", or "eyes", "nose", "mouth" as they were; "identity" of its pictures; "shape" that is
        nobody else's. By itself: "face".
        """
        if self.inner:
            return ()
        told = [part for part, share in self.recovered.items() if share >= SHOWN_PARTS[part]]
        if self.error is not None and self.error.recovered >= SHOWN_SHARE:
            told = ["surface", *told]
        allowed = STRANGER_SHARE if self.is_plain_skin else MATCHED_SHARE
        if self.match is not None and self.match.rank == 1 and self.match.stranger_share < allowed:
            told.append("identity")
        if self._shows_shape:
            told.append("shape")
        if self.is_face:
            told.append("face")
        return tuple(told)

    @property
    def _shows_shape(self) -> bool:
        """Whether its shape is nobody else's; a natural face needs to stand out less, for it says something by itself."""
        if self.shape is None:
            return False
        alone = self.shape.is_match(SHOWN_Z if self.is_plain_skin else SHOWN_Z_OF_MANY)
        return alone or (self.is_face and self.shape.is_match(SHOWN_Z_OF_FACE, BEYOND_OF_FACE))

    @property
    def is_face(self) -> bool:
        """Whether the relief, or its nose, is a natural face's, whosever it is.

        Without a detector's word the relief must be more of a face, the farther a guess was moved the more. What is left when
        fill is taken off a coarse scan is rough and may stand out like a nose by chance: there the detector must see a face.
        """
        far = self.guess is not None and self.guess.moved_mm > NEAR_MM
        least, score = (NATURAL_FAR, SEEN_SCORE_FAR) if far else (NATURAL, SEEN_SCORE)
        natural = any(_reaches(sign, least[part]) for part, sign in self.signs.items())
        if natural and (self.attack not in ROUGH or self.score >= 0.0):
            return True
        return self.score >= score and "face" in self.signs and _reaches(self.signs["face"], SEEN)

    def measures(self) -> dict[str, Any]:
        """Plain data for a report."""
        parts: Mapping[str, Any] = {"error": self.error, "match": self.match, "shape": self.shape}
        plain: dict[str, Any] = {name: None if part is None else _rounded(asdict(part)) for name, part in parts.items()}
        plain |= {"signs": {part: _rounded(asdict(sign)) for part, sign in self.signs.items()}}
        plain |= {"recovered": _rounded(self.recovered)}
        head = {"attack": self.attack, "surface": self.label, "inner": self.inner, "shows": list(self.shows)}
        return {**head, **_rounded({"detector_score": self.score}), **plain}


def _reaches(sign: FaceSign, least: FaceSign) -> bool:
    return sign.correlation >= least.correlation and least.height <= sign.height <= HIGHEST


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    def one(value: Any) -> Any:
        if isinstance(value, float):
            return round(value, 3) if np.isfinite(value) else None
        return value

    return {name: one(value) for name, value in values.items()}


def remember(original: Exposed, landmarks: Landmarks) -> Original:
    """What the original shows, as the truth that every attack is measured against."""
    guess = skin_guess(original)
    relief, zones = _seen(guess, original), part_zones(original.rays, landmarks)
    whole = np.asarray(np.logical_or.reduce(list(zones.values())))
    parts = {part: (zone, blind_guess(relief, zone)) for part, zone in zones.items()}
    views = likenesses(guess.surface())
    return Original(relief, whole, blind_guess(relief, whole), parts, views, slopes(original.rays, relief))


def run_battery(exposed: Exposed, original: Original | None = None, attacks: Iterable[Attack] = ()) -> list[Exposure]:
    """Every attack on one head.

    Parameters
    ----------
    original : the truth on the same grid; without it only the face-likeness of each guess can be told.
    attacks : all registered ones by default.

    Returns
    -------
    One exposure per guess that is not the same surface as an earlier one; the recogniser looked at the most telling guesses of
    each attack.
    """
    seen: list[Map] = []
    found = []
    for attack in attacks or ATTACKS.values():
        ranked = []
        for guess in attack.guesses(exposed):
            relief = _seen(guess, exposed)
            if not any(_same(relief, other) for other in seen):
                seen.append(relief)
                ranked.append(measure_guess(guess, relief, attack, original))
        ranked.sort(key=tells, reverse=True)
        looked_at = LOOKED_AT_INNER if attack.inner else LOOKED_AT
        found += [look(one, original) if n < looked_at else one for n, one in enumerate(ranked)]
    return found


def _seen(guess: Guess, exposed: Exposed) -> Map:
    """The relief of a guess where the scan shows a surface; the edge of what was scanned is none."""
    return without_cuts(guess.relief(), exposed.cut_end)


def _same(one: Map, other: Map) -> bool:
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 0.98 * max(np.isfinite(one).sum(), np.isfinite(other).sum(), 1):
        return False
    off = (one - other)[both]
    return bool(np.mean(np.abs(off - np.median(off)) < SAME_MM) > 0.98)


def measure_guess(guess: Guess, relief: Map, attack: Attack, original: Original | None) -> Exposure:
    """The shape of one guess, without the recogniser: against the original, or how far it is a face by itself."""
    if original is None:
        return Exposure(attack.name, guess.label, attack.inner, signs_of(guess, relief), guess=guess)
    error = surface_error(relief, original.relief, original.zone, original.blind)
    parts = {part: surface_error(relief, original.relief, *rest) for part, rest in original.parts.items()}
    recovered = {part: one.recovered for part, one in parts.items() if one is not None}
    found = slopes(guess.rays, relief)
    shape = match_shape(found, original.slopes) if found is not None and original.slopes is not None else None
    return Exposure(attack.name, guess.label, attack.inner, {}, error, recovered, guess=guess, slopes=found, shape=shape)


def signs_of(guess: Guess, relief: Map) -> dict[str, FaceSign]:
    """How far a guess is a face, and its nose a nose."""
    found = {part: face_sign(guess.rays, relief, part) for part in NATURAL}
    return {part: sign for part, sign in found.items() if sign is not None}


def tells(exposure: Exposure) -> float:
    """How much of a face a guess shows; the plain skin always comes first."""
    if exposure.is_plain_skin:
        return np.inf
    if exposure.error is not None:
        return exposure.error.recovered
    return max((sign.correlation * min(sign.height, 1.0) for sign in exposure.signs.values()), default=-np.inf)


def look(exposure: Exposure, original: Original | None) -> Exposure:
    """The same exposure with its signs and the recogniser's word, where it can matter."""
    guess = exposure.guess
    if guess is None or (original is not None and exposure.error is None):
        return exposure
    signs = exposure.signs or signs_of(guess, guess.relief())
    exposure = replace(exposure, signs=signs)
    undecided = any(_reaches(sign, SEEN) for sign in signs.values())
    if original is None and not undecided:
        return exposure
    surface = guess.surface()
    if surface.is_empty:
        return exposure
    looks = look_at(surface, None if original is None else original.views)
    return replace(exposure, looks=looks, match=None if original is None else match(original.views, looks))
