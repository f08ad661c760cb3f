"""DICOM segmentations: both kinds, sparse and unsorted frames, overlaps, tilt, and what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fw_gear_hndeface.dicom import seg
from fw_gear_hndeface.dicom.archive import open_inputs
from fw_gear_hndeface.dicom.limits import Limits
from fw_gear_hndeface.dicom.study import SeriesKind, read_contents
from fw_gear_hndeface.errors import DicomError, GeometryError
from fw_gear_hndeface.model import Finding, Grid, LabelMap, RoiKind
from fw_gear_hndeface.settings import Settings
from tests import labelled
from tests import phantom as make
from tests.e2e.studies import dataset_of, to_bytes

GRID = make.ugly_grid((9, 7, 5))
Masks = dict[str, NDArray[np.bool_]]


def masks() -> Masks:
    found = {name: np.zeros(GRID.shape, np.bool_) for name in ("eye_left", "GTVp", "Patient outline of someone")}
    found["eye_left"][1:3, 2:4, 3:5] = True
    found["GTVp"][6:8, 1:5, 0:2] = True
    found["Patient outline of someone"][4, 0, 0] = True
    return found


def read(data: bytes, tmp_path: Path) -> tuple[tuple[LabelMap, ...], tuple[Finding, ...]]:
    path = tmp_path / "seg.dcm"
    path.write_bytes(data)
    with open_inputs([path], Limits.of(Settings()), tmp_path) as archive:
        (series,) = read_contents(archive).series
        assert series.kind is SeriesKind.SEG
        return seg.read_label_maps(series)


def places(grid: Grid, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    points = np.argwhere(mask) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return points[np.lexsort(np.round(points, 3).T)]


def same_places(found: LabelMap, number: int, truth: NDArray[np.bool_]) -> None:
    assert np.allclose(places(found.grid, found.array == number), places(GRID, truth), atol=2e-3)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_segments_lie_where_they_lay_on_a_tilted_grid(kind: str, tmp_path: Path) -> None:
    (found,), findings = read(labelled.segmentation(masks(), GRID, kind=kind), tmp_path)
    assert findings == ()
    for number, mask in enumerate(masks().values(), 1):
        same_places(found, number, mask)
    assert found.grid.frame == GRID.frame
    assert found.source == "segmentation"


def test_a_segment_is_what_a_drawn_region_of_that_name_would_be(tmp_path: Path) -> None:
    (found,), _ = read(labelled.segmentation(masks(), GRID), tmp_path)
    assert [found.labels[n].kind for n in (1, 2, 3)] == [RoiKind.LANDMARK, RoiKind.TARGET, RoiKind.EXTERNAL]
    assert found.labels[1].meaning == "globe left"


def test_frames_that_hold_nothing_may_be_missing(tmp_path: Path) -> None:
    sparse = {"Brain": np.zeros(GRID.shape, np.bool_)}
    sparse["Brain"][[1, 2, 7], 3, 2] = True
    (found,), _ = read(labelled.segmentation(sparse, GRID), tmp_path)
    same_places(found, 1, sparse["Brain"])


def test_overlapping_segments_stay_whole_on_maps_of_their_own(tmp_path: Path) -> None:
    both = masks()
    both["brain"] = both["eye_left"] | np.roll(both["eye_left"], 1, axis=1)
    found, _ = read(labelled.segmentation(both, GRID), tmp_path)
    assert len(found) == 2
    by_meaning = {label.meaning: (m, n) for m in found for n, label in m.labels.items()}
    same_places(*by_meaning["globe left"], both["eye_left"])
    same_places(*by_meaning["brain"], both["brain"])


def test_one_plane_takes_its_thickness(tmp_path: Path) -> None:
    flat = {"brain": np.zeros(GRID.shape, np.bool_)}
    flat["brain"][4, 2:5, 1:3] = True
    (found,), _ = read(labelled.segmentation(flat, GRID), tmp_path)
    same_places(found, 1, flat["brain"])
    assert found.grid.spacing_mm[0] == pytest.approx(GRID.spacing_mm[0])


def change(data: bytes, **values: object) -> bytes:
    ds = dataset_of(data)
    for name, value in values.items():
        setattr(ds, name, value)
    return to_bytes(ds)


def test_fractional_segments_are_left_out_and_named(tmp_path: Path) -> None:
    found, (finding,) = read(change(labelled.segmentation(masks(), GRID), SegmentationType="FRACTIONAL"), tmp_path)
    assert found == ()
    assert finding.code == "segmentation_left_out"


def test_a_known_code_names_a_segment_without_a_known_label(tmp_path: Path) -> None:
    ds = dataset_of(labelled.segmentation({"Segment_1": masks()["eye_left"]}, GRID))
    code = type(ds)("", {})
    code.CodeMeaning, code.CodeValue, code.CodingSchemeDesignator = "Mandible", "91609006", "SCT"
    ds.SegmentSequence[0].SegmentedPropertyTypeCodeSequence = [code]
    (found,), _ = read(to_bytes(ds), tmp_path)
    assert found.labels[1].meaning == "mandible"


def test_frames_off_the_lattice_are_refused(tmp_path: Path) -> None:
    ds = dataset_of(labelled.segmentation(masks(), GRID))
    position = ds.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    position.ImagePositionPatient = [value + 1.4 for value in position.ImagePositionPatient]
    with pytest.raises(GeometryError, match="unevenly"):
        read(to_bytes(ds), tmp_path)


@pytest.mark.parametrize("lost", ["PixelData", "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"])
def test_a_segmentation_that_lacks_what_it_needs_is_an_error_in_words(lost: str, tmp_path: Path) -> None:
    ds = dataset_of(labelled.segmentation(masks(), GRID))
    del ds[lost]
    with pytest.raises((DicomError, GeometryError)) as caught:
        read(to_bytes(ds), tmp_path)
    assert "outline of someone" not in str(caught.value)
