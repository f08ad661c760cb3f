"""Charts and picture sheets: the only drawing of comparisons and audits."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


@dataclass(frozen=True)
class Point:
    """One method: how well its faces can still be told (mean rank over chance; 1 is chance) and the tissue it changed, mL."""

    name: str
    rank_over_chance: float
    changed_ml: float


@dataclass(frozen=True, eq=False)
class Tile:
    """A picture (R, C) grey with a caption; `alarm` marks what must not be there."""

    caption: str
    picture: NDArray[np.uint8]
    alarm: bool = False


def privacy_chart(points: Sequence[Point], chance: tuple[float, float]) -> bytes:
    """Privacy against tissue kept, one dot per method, as PNG.

    Parameters
    ----------
    chance : range of `rank_over_chance` that chance alone gives.
    """
    figure = Figure(figsize=(7.5, 5.0), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.axhspan(*chance, color="0.9", zorder=0)
    axes.axhline(1.0, color="0.6", linewidth=1, zorder=1)
    for point in points:
        axes.plot(point.changed_ml, point.rank_over_chance, "o", color="#1f5fa8")
        axes.annotate(point.name, (point.changed_ml, point.rank_over_chance), xytext=(5, 4), textcoords="offset points")
    axes.set_xlabel("tissue removed, added or given new values, mL (median)")
    axes.set_ylabel("mean rank of the own original / chance, worst case")
    axes.set_title("Up is private (grey: chance), left is kept")
    axes.set_xlim(left=-10)
    axes.set_ylim(bottom=0)
    return _png(figure)


def picture_sheet(rows: Sequence[tuple[str, Sequence[Tile]]]) -> bytes:
    """Rows of captioned pictures as one PNG; an alarmed tile has a red frame and caption."""
    columns = max((len(tiles) for _, tiles in rows), default=1)
    figure = Figure(figsize=(1.9 * columns + 0.3, 2.6 * max(len(rows), 1) + 0.3), dpi=100, layout="constrained")
    for r, (title, tiles) in enumerate(rows):
        for c, tile in enumerate(tiles):
            axes = figure.add_subplot(max(len(rows), 1), columns, r * columns + c + 1)
            axes.imshow(tile.picture, cmap="gray", vmin=0, vmax=255)
            axes.set_xticks([])
            axes.set_yticks([])
            colour = "#b00020" if tile.alarm else "0.2"
            for spine in axes.spines.values():
                spine.set_color(colour)
                spine.set_linewidth(2.0 if tile.alarm else 0.5)
            axes.set_title(f"{title}\n{tile.caption}" if c == 0 else tile.caption, fontsize=7, color=colour)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
