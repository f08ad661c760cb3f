"""Whose face does a result look like? Ranks of the own original among the originals of a cohort, against chance."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fw_gear_hndeface.evaluate.trial import UNTOUCHED
from fw_gear_hndeface.model import Float
from fw_gear_hndeface.privacy.match import Looks, distances, rank_of
from fw_gear_hndeface.privacy.slopes import nearest_likeness, unpacked

Record = Mapping[str, Any]
#: Draws of the chance interval; seeded, so that a table repeats.
DRAWS = 20_000
#: A cohort of fewer heads has no ranks of its own: its heads are looked for among all.
LEAST_GALLERY = 5


@dataclass(frozen=True)
class Ranking:
    """Ranks of one method over heads: how many are first, mean reciprocal rank, mean rank, each with the 95 % range of chance.

    `mean_gallery` is the mean size of the galleries.
    """

    heads: int
    first: int
    first_chance: tuple[float, float]
    reciprocal: float
    reciprocal_chance: tuple[float, float]
    mean: float
    mean_chance: tuple[float, float]
    mean_gallery: float

    @property
    def at_chance(self) -> bool:
        """Whether nothing in the ranks is better than chance."""
        return bool(
            self.first <= self.first_chance[1]
            and self.reciprocal <= self.reciprocal_chance[1]
            and self.mean >= self.mean_chance[0]
        )


def matrix(views: Sequence[Any]) -> Float:
    """Embeddings of a record, (views, 128) with NaN for a view that says nothing."""
    return np.array([row if row is not None else [np.nan] * 128 for row in views], dtype=np.float64)


def references(records: Iterable[Record]) -> dict[int, dict[str, Float]]:
    """Cohort -> head -> embeddings of its untouched skin; small cohorts are looked for among all heads."""

    def known(record: Record) -> Float | None:
        skin = [one for one in record["embeddings"] if one["attack"] == "skin"]
        rows = matrix(skin[0]["views"]) if skin else None
        return rows if rows is not None and np.isfinite(rows).any() else None

    return _galleries(records, known)


def shape_references(records: Iterable[Record]) -> dict[int, dict[str, Float]]:
    """Cohort -> head -> slopes of its untouched skin, as for embeddings."""

    def known(record: Record) -> Float | None:
        return next((unpacked(one["slopes"]) for one in record["shapes"] if one["attack"] == "skin"), None)

    return _galleries(records, known)


def _galleries(records: Iterable[Record], known: Callable[[Record], Float | None]) -> dict[int, dict[str, Float]]:
    cohorts: dict[int, dict[str, Float]] = {}
    for record in records:
        if record["method"] == UNTOUCHED and record["status"] == "done":
            found = known(record)
            if found is not None:
                cohorts.setdefault(record["cohort"], {})[record["head"]] = found
    everybody = {name: rows for heads in cohorts.values() for name, rows in heads.items()}
    return {cohort: heads if len(heads) >= LEAST_GALLERY else everybody for cohort, heads in cohorts.items()}


def rank_shape(record: Record, gallery: Mapping[str, Float], attacks: Collection[str]) -> tuple[int, int] | None:
    """Rank of the own original by shape and size of the gallery; None where no guess of these attacks says anything.

    Parameters
    ----------
    attacks : names; the guess that is most like counts, for everybody in the gallery alike. Empty for the plain skin alone.
    """
    ones = [one for one in record["shapes"] if one["attack"] in (attacks or ("skin",))]
    guesses = [unpacked(one["slopes"]) for one in (ones if attacks else ones[:1])]
    away = {name: -likeness for name, likeness in nearest_likeness(guesses, gallery).items()}
    rank = rank_of(record["head"], away)
    return None if rank is None or len(away) < 2 else (rank, len(away))


def rank_record(record: Record, gallery: Mapping[str, Float], *, attacked: bool) -> tuple[int, int] | None:
    """Rank of the own original and size of the gallery; None where nothing can be compared.

    Parameters
    ----------
    attacked : take the nearest of all attacks on skin for everybody in the gallery alike, instead of the plain skin.
    """
    nearest: dict[str, float] = {}
    for one in record["embeddings"]:
        plain = one["attack"] == "skin" and one is next(e for e in record["embeddings"] if e["attack"] == "skin")
        if one["inner"] or not (attacked or plain):
            continue
        rows = matrix(one["views"])
        if not np.isfinite(rows).any():
            continue
        for name, away in distances(Looks(rows, 0, np.nan), gallery).items():
            nearest[name] = min(away, nearest.get(name, np.inf))
    rank = rank_of(record["head"], nearest)
    return None if rank is None or len(nearest) < 2 else (rank, len(nearest))


def ranking(ranks: Sequence[tuple[int, int]], seed: int = 0) -> Ranking | None:
    """Ranks of one method over heads; None for no heads."""
    if not ranks:
        return None
    found, sizes = np.array(ranks, dtype=np.float64).T
    rng = np.random.default_rng(seed)
    drawn = np.floor(rng.random((DRAWS, len(sizes))) * sizes) + 1.0

    def chance(values: Float) -> tuple[float, float]:
        low, high = np.quantile(values, [0.025, 0.975])
        return float(low), float(high)

    return Ranking(
        len(ranks),
        int(np.count_nonzero(found == 1)),
        chance(np.count_nonzero(drawn == 1, axis=1).astype(np.float64)),
        float(np.mean(1.0 / found)),
        chance((1.0 / drawn).mean(axis=1)),
        float(found.mean()),
        chance(drawn.mean(axis=1)),
        float(sizes.mean()),
    )
