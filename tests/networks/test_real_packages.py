"""TotalSegmentator and nnU-Net for real, on tiny models in their own formats: places, sides and names on a turned, tilted scan.

Run by `.ci/run` in an environment of their own; elsewhere they skip.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from fw_gear_hndeface.casework import Case, deface_case
from fw_gear_hndeface.landmarks import Evidence, find_face
from fw_gear_hndeface.model import LabelMap, Volume
from fw_gear_hndeface.networks import nnunet, totalsegmentator
from fw_gear_hndeface.networks.wanted import network_labels
from fw_gear_hndeface.ops.head import head_windows
from fw_gear_hndeface.settings import Settings
from fw_gear_hndeface.synthetic.head import SyntheticHead
from tests import phantom as make
from tests.chain import SEED, no_stage
from tests.networks.tiny import write_model

pytest.importorskip("totalsegmentator", reason="TotalSegmentator is not installed: pip install -e '.[totalseg]'")
pytest.importorskip("nnunetv2")

pytestmark = pytest.mark.slow

TASK = "head_glands_cavities"
FINE, COARSE = "nnUNetTrainer_DASegOrd0_NoMirroring", "nnUNetTrainer_4000epochs_NoMirroring"
#: Structure of the phantom -> (number in the task, name, HU painted there).
PAINTED = {
    "Eye_L": (1, "eye_left", 1300),
    "Eye_R": (2, "eye_right", 1700),
    "Parotid_L": (7, "parotid_gland_left", 2100),
    "Parotid_R": (8, "parotid_gland_right", 2500),
}
#: Labels for what interpolation leaves between two paints, so that no structure has another's rim.
BETWEEN = {number: 1100.0 + 400.0 * n for n, number in enumerate((11, 12, 13, 18))}


def painted(head: SyntheticHead) -> Volume:
    """The head above its chin with some structures painted in HU that occur nowhere else in it."""
    array = np.minimum(head.volume.array, 300).astype(np.int16)
    for name, (_, _, hu) in PAINTED.items():
        array[head.structures[name].array] = hu
    lowest = int(head.volume.grid.to_index(head.landmarks["chin"].point - [0.0, 0.0, 25.0])[0])
    return Volume(head.volume.grid, array).crop((slice(max(lowest, 0), None), slice(None), slice(None)))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as TotalSegmentator's download leaves them: the task's model, and the coarse one that finds the head."""
    from totalsegmentator.map_to_binary import class_map

    folder = tmp_path_factory.mktemp("weights")
    labels = {task: {"background": 0, **{name: n for n, name in class_map[task].items()}} for task in (TASK, "total")}
    write_model(
        folder
        / "Dataset775_head_glands_cavities_492subj"
        / "nnUNetTrainer_DASegOrd0_NoMirroring__nnUNetPlans__3d_fullres_high",
        labels[TASK],
        {0: 0.0, **BETWEEN, **{number: float(hu) for number, _, hu in PAINTED.values()}},
        spacing_mm=(1.0, 0.75, 0.75),
        configuration="3d_fullres_high",
        trainer=FINE,
    )
    write_model(
        folder
        / "Dataset298_TotalSegmentator_total_6mm_1559subj"
        / "nnUNetTrainer_4000epochs_NoMirroring__nnUNetPlans__3d_fullres",
        labels["total"],
        {0: -1000.0, 91: 0.0},
        spacing_mm=(6.0, 6.0, 6.0),
        trainer=COARSE,
    )
    return folder


@pytest.fixture
def here(weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The weights named as an image names them; the home would show whether the package wrote into it."""
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(weights))
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def face_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An nnU-Net model that takes the right eye's paint for the face: one-sided, so that a mirrored result would show."""
    folder = tmp_path_factory.mktemp("models") / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    labels = {"background": 0, "face": 1, "rims": 2, "others": 3}
    return write_model(folder, labels, {0: 0.0, 2: 1500.0, 1: float(PAINTED["Eye_R"][2]), 3: 1900.0})


def centre(head: SyntheticHead, name: str) -> np.ndarray:
    """Centre of a structure, LPS mm, straight from the affine."""
    grid = head.volume.grid
    return np.asarray((np.argwhere(head.structures[name].array) @ grid.affine[:3, :3].T + grid.affine[:3, 3]).mean(axis=0))


def labelled_centre(labels: LabelMap, number: int) -> np.ndarray:
    """Centre of the largest part of a label, LPS mm."""
    parts, count = ndimage.label(labels.array == number)
    assert count
    largest = parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())
    return np.asarray((np.argwhere(largest) @ labels.grid.affine[:3, :3].T + labels.grid.affine[:3, 3]).mean(axis=0))


def test_totalsegmentator_s_labels_lie_where_they_belong_and_place_the_face(here: Path) -> None:
    head = make.phantom(SEED)
    scan = painted(head)
    assert len(set(scan.grid.shape)) == 3
    assert np.abs(scan.grid.affine[:3, :3]).min(axis=0).max() > 0.0, "no axis of the scan is a patient axis"
    assert totalsegmentator.missing((TASK,)) is None
    (labels,), findings = network_labels(scan, Settings(totalseg_tasks=TASK, use_gpu=True))
    for structure, (number, name, _) in PAINTED.items():
        assert labels.labels[number].name == name
        assert np.linalg.norm(labelled_centre(labels, number) - centre(head, structure)) < 3.0, structure
    import torch

    assert ("network_on_cpu" in {finding.code for finding in findings}) is not torch.cuda.is_available()
    assert not here.exists(), "the package keeps no settings and no identity outside its own folder"
    found = find_face(Evidence(next(head_windows(scan)), (), (labels,)), "auto")
    assert found is not None
    for side in ("left", "right"):
        mark = found.landmarks[f"globe_{side}"]
        assert mark.source == "totalsegmentator"
        assert np.linalg.norm(mark.point - head.landmarks[f"globe_{side}"].point) < 3.0


def test_a_task_whose_weights_are_not_here_says_what_to_fetch(here: Path, weights: Path) -> None:
    lacking = totalsegmentator.missing(("head_muscles",))
    assert lacking is not None
    assert "totalseg_download_weights -t head_muscles" in lacking
    assert str(weights) not in lacking
    maps, (finding,) = network_labels(make.phantom(SEED).volume, Settings(totalseg_tasks="head_muscles"))
    assert maps == ()
    assert finding.code == "network_missing"


@pytest.mark.parametrize("orientation", ["LPS", "RAS"])
def test_a_user_s_model_finds_its_face_on_the_right_side(orientation: str, face_model: Path) -> None:
    head = make.phantom(SEED)
    around = next(head_windows(painted(head))).volume.grid
    labels, _ = nnunet.segment_face(painted(head), around, str(face_model), use_gpu=False, orientation=orientation)
    assert labels.labels[1].meaning == "face"
    assert np.linalg.norm(labelled_centre(labels, 1) - centre(head, "Eye_R")) < 3.0


def test_a_whole_run_with_a_user_s_model_changes_what_it_labels(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres", {"background": 0, "face": 1}, {0: 0.0, 1: 2900.0})
    head = make.phantom(SEED, plain=True)
    grid, nose = head.volume.grid, head.landmarks["nose_tip"].point
    points = np.stack(np.indices(grid.shape), axis=-1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    face = (np.linalg.norm(points - nose, axis=-1) < 30.0) & head.structures["BODY"].array
    array = np.minimum(head.volume.array, 700)
    array[face] = 2900
    settings = Settings(method="nnunet", nnunet_model=str(folder), privacy="report", use_gpu=False, fill="air")
    done = deface_case(Case(Volume(grid, array), None, (), "CT series 1"), settings, 7, no_stage)
    assert done is not None
    after = done.plan.apply(Volume(grid, array)).array
    assert (after[face] < -900).mean() > 0.9
    assert np.array_equal(
        after[~ndimage.binary_dilation(face, iterations=4)], array[~ndimage.binary_dilation(face, iterations=4)]
    )


def test_a_model_that_breaks_is_an_error_without_a_path(face_model: Path, tmp_path: Path) -> None:
    from fw_gear_hndeface.errors import HndefaceError

    broken = tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    (broken / "fold_0").mkdir(parents=True)
    for name in ("dataset.json", "plans.json"):
        (broken / name).write_text((face_model / name).read_text())
    (broken / "fold_0" / "checkpoint_final.pth").write_bytes(b"no weights")
    head = make.phantom(SEED)
    with pytest.raises(HndefaceError, match="The nnU-Net model failed: ") as caught:
        nnunet.segment_face(head.volume, next(head_windows(head.volume)).volume.grid, str(broken), use_gpu=False)
    assert str(tmp_path) not in str(caught.value)
    assert json.loads((broken / "dataset.json").read_text())["labels"]
