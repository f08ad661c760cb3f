"""Networks without their packages: what is asked for, what is missing, what a child is given and what comes back."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fw_gear_hndeface.errors import HndefaceError, SettingsError
from fw_gear_hndeface.model import Finding, Grid, Level, Volume
from fw_gear_hndeface.networks import nnunet, runner, totalsegmentator, wanted
from fw_gear_hndeface.networks.runner import network_grid, read_numbers, run_child, write_image
from fw_gear_hndeface.ops.head import head_windows
from fw_gear_hndeface.settings import Settings
from tests import phantom as make
from tests.labelled import label_map

SEED = 7


def scan() -> Volume:
    return make.phantom(SEED).volume


def window() -> Grid:
    return next(head_windows(scan())).volume.grid


def test_a_network_sees_the_window_along_the_patient_axes() -> None:
    grid = network_grid(scan(), window())
    axes = grid.affine[:3, :3] / grid.spacing_mm
    assert np.allclose(axes, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    assert np.allclose(grid.spacing_mm, 1.0)
    low, high = scan().grid.corners().min(axis=0), scan().grid.corners().max(axis=0)
    assert np.all(grid.corners().min(axis=0) >= low - 1e-6)
    assert np.all(grid.corners().max(axis=0) <= high + 1.0 + 1e-6)


@pytest.mark.parametrize("flips", [(), (1, 2), (0,)])
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_what_a_network_writes_where_it_found_it_comes_back_there(flips: tuple[int, ...], ending: str, tmp_path: Path) -> None:
    import SimpleITK as sitk

    grid = make.plain_grid((6.0, 5.0, 4.0))
    values = np.random.default_rng(3).integers(-1000, 1500, grid.shape).astype(np.int16)
    write_image(Volume(grid, values), grid, tmp_path / f"ct{ending}", flips=flips)
    image = sitk.ReadImage(str(tmp_path / f"ct{ending}"))
    for index in ([0, 0, 0], [3, 5, 2], [grid.shape[0] - 1, 1, 4]):
        point = grid.affine[:3, :3] @ index + grid.affine[:3, 3]
        assert image[image.TransformPhysicalPointToIndex(point.tolist())] == values[tuple(index)]
    sitk.WriteImage(sitk.Cast(image > 700, sitk.sitkUInt8), str(tmp_path / f"seg{ending}"))
    assert np.array_equal(read_numbers(tmp_path / f"seg{ending}", grid, flips=flips), values > 700)


def test_a_result_that_is_not_there_or_of_another_shape_is_an_error(tmp_path: Path) -> None:
    grid = make.plain_grid((6.0, 5.0, 4.0))
    with pytest.raises(HndefaceError, match="without a result"):
        read_numbers(tmp_path / "nothing.nii.gz", grid)
    write_image(Volume(grid, np.zeros(grid.shape, np.int16)), grid, tmp_path / "seg.nii.gz")
    with pytest.raises(HndefaceError, match="has shape"):
        read_numbers(tmp_path / "seg.nii.gz", grid.crop((slice(1, 4), slice(0, 5), slice(0, 5))))


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that a child process can import: `works` tells what it was given, the others fail."""
    (tmp_path / "pretend.py").write_text(
        "import json, os, sys\n"
        "def works():\n"
        "    told = {'argv': sys.argv[1:], 'proxy': os.environ['https_proxy'], 'extra': os.environ['EXTRA']}\n"
        "    open(sys.argv[1], 'w').write(json.dumps(told))\n"
        "def breaks():\n"
        "    raise ValueError('/secret/place')\n"
        "def starves():\n"
        "    raise RuntimeError('CUDA out of memory at /secret')\n"
        "def hangs():\n"
        "    import time; time.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_a_child_gets_its_arguments_and_no_way_out(child: Path) -> None:
    run_child("pretend:works", [str(child / "told.json"), "-x"], {"EXTRA": "7"}, "Pretend")
    told = json.loads((child / "told.json").read_text())
    assert told["argv"] == [str(child / "told.json"), "-x"]
    assert told["extra"] == "7"
    assert told["proxy"] == "http://127.0.0.1:9", "nothing listens there"


@pytest.mark.parametrize(("entry", "reason"), [("breaks", "ValueError"), ("starves", "out of memory")])
def test_a_child_that_fails_says_why_without_its_paths(entry: str, reason: str, child: Path) -> None:
    with pytest.raises(HndefaceError, match=f"Pretend failed: {reason}") as caught:
        run_child(f"pretend:{entry}", [], {}, "Pretend")
    assert "secret" not in str(caught.value)


def test_a_child_that_hangs_is_ended(child: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "MOST_SECONDS", 1)
    with pytest.raises(HndefaceError, match="it was stopped"):
        run_child("pretend:hangs", [], {}, "Pretend")


def test_tasks_are_named_by_commas_and_unknown_or_licensed_ones_refused() -> None:
    assert Settings(totalseg_tasks=" head_muscles, total,head_muscles").totalseg_task_names == ("head_muscles", "total")
    with pytest.raises(SettingsError, match="'face' needs a licence"):
        Settings(totalseg_tasks="face")
    with pytest.raises(SettingsError, match="'liver' is not used here"):
        Settings(totalseg_tasks="total,liver")


def test_tasks_default_only_where_nothing_else_is_asked() -> None:
    assert wanted.tasks_of(Settings()) == ()
    assert wanted.tasks_of(Settings(landmarks="totalsegmentator")) == totalsegmentator.USUAL_TASKS
    assert wanted.tasks_of(Settings(landmarks="totalsegmentator", totalseg_tasks="total")) == ("total",)


def test_what_is_missing_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "needs a licence" in (totalsegmentator.missing(("face",)) or "")
    assert "is no task" in (totalsegmentator.missing(("qq",)) or "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install" in (totalsegmentator.missing() or "")
    assert "pip install" in (nnunet.missing() or "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(totalsegmentator, "_folders", lambda task: ["Dataset1_x"])
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path))
    monkeypatch.delenv("TOTALSEG_WEIGHTS_PATH", raising=False)
    assert "totalseg_download_weights" in (totalsegmentator.missing() or "")
    (tmp_path / "nnunet" / "results" / "Dataset1_x").mkdir(parents=True)
    assert totalsegmentator.missing() is None
    assert nnunet.missing() is None


def test_beside_other_sources_a_missing_network_is_a_finding_alone_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totalsegmentator, "missing", lambda tasks=(): "Not here.")
    maps, (finding,) = wanted.network_labels(scan(), Settings(totalseg_tasks="total"))
    assert (maps, finding.code) == ((), "network_missing")
    with pytest.raises(SettingsError, match="Not here"):
        wanted.network_labels(scan(), Settings(landmarks="totalsegmentator"))
    assert wanted.network_labels(scan(), Settings()) == ((), ())


def test_what_networks_make_is_handed_on_with_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Sequence[str], bool]] = []
    slow = Finding(Level.WARNING, "network_on_cpu", "slow")

    def segment(volume: Volume, around: Grid, tasks: Sequence[str], *, use_gpu: bool) -> tuple[object, object]:
        assert network_grid(volume, around).shape > (50, 50, 50)
        asked.append((tasks, use_gpu))
        return (label_map(make.phantom(SEED), "totalsegmentator"),), (slow,)

    monkeypatch.setattr(totalsegmentator, "missing", lambda tasks=(): None)
    monkeypatch.setattr(totalsegmentator, "segment", segment)
    maps, findings = wanted.network_labels(scan(), Settings(totalseg_tasks="total", use_gpu=False))
    assert [labels.source for labels in maps] == ["totalsegmentator"]
    assert findings == (slow,)
    assert asked == [(("total",), False)]


def test_the_task_runs_without_telemetry_in_a_home_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import SimpleITK as sitk

    seen: dict[str, object] = {}

    def pretend(entry: str, arguments: Sequence[str], variables: Mapping[str, str], what: str) -> None:
        told = dict(pairwise(arguments))
        seen.update(json.loads((Path(variables["TOTALSEG_HOME_DIR"]) / "config.json").read_text()))
        seen["weights"], seen["task"], seen["device"] = variables["TOTALSEG_WEIGHTS_PATH"], told["--task"], told["--device"]
        image = sitk.ReadImage(told["-i"])
        sitk.WriteImage(sitk.Cast(image > 300, sitk.sitkUInt8), told["-o"])
        Path(told["--report"]).write_text(json.dumps({"device": "cpu"}))

    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path))
    monkeypatch.setattr(totalsegmentator, "missing", lambda tasks=(): None)
    monkeypatch.setattr(totalsegmentator, "run_child", pretend)
    (labels,), findings = totalsegmentator.segment(scan(), window(), ("craniofacial_structures",), use_gpu=True)
    assert seen["send_usage_stats"] is False
    assert (seen["weights"], seen["task"], seen["device"]) == (str(tmp_path), "craniofacial_structures", "gpu")
    assert labels.labels[1].meaning == "mandible"
    assert labels.array.any()
    assert [finding.code for finding in findings] == ["network_on_cpu"]


def model_folder(tmp_path: Path, labels: Mapping[str, object], **more: object) -> str:
    (tmp_path / "fold_0").mkdir(parents=True)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz", **more}))
    (tmp_path / "plans.json").write_text("{}")
    (tmp_path / "fold_0" / "checkpoint_final.pth").write_bytes(b"")
    return str(tmp_path)


def test_a_model_folder_tells_its_labels_and_folds(tmp_path: Path) -> None:
    model = nnunet.read_model(model_folder(tmp_path, {"background": 0, "Face": 1, "ears": 2}))
    assert (model.labels, model.folds, model.checkpoint) == ({1: "Face", 2: "ears"}, ("0",), "checkpoint_final.pth")
    assert [label.meaning for label in nnunet.face_labels(model).values()] == ["face", "ears"]


def test_a_single_label_is_the_face_whatever_it_is_called(tmp_path: Path) -> None:
    model = nnunet.read_model(model_folder(tmp_path, {"background": 0, "deface_mask": 1}))
    assert nnunet.face_labels(model)[1].meaning == "face"


@pytest.mark.parametrize(
    ("labels", "more", "reason"),
    [
        ({"background": 0, "liver": 1, "spleen": 2}, {}, "is called face"),
        ({"background": 0, "face": 1}, {"channel_names": {"0": "CT", "1": "PET"}}, "several channels"),
    ],
)
def test_models_of_something_else_are_refused(
    labels: dict[str, int], more: dict[str, object], reason: str, tmp_path: Path
) -> None:
    folder = model_folder(tmp_path, labels, **more)
    with pytest.raises(SettingsError, match=reason):
        nnunet.face_labels(nnunet.read_model(folder))


@pytest.mark.parametrize("lost", ["dataset.json", "plans.json", "fold_0/checkpoint_final.pth"])
def test_a_folder_that_is_no_trained_model_is_refused(lost: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", {"background": 0, "face": 1})
    (Path(folder) / lost).unlink()
    with pytest.raises(SettingsError, match="Setting nnunet_model") as caught:
        nnunet.read_model(folder)
    assert str(tmp_path) not in str(caught.value)


def test_the_method_without_a_model_is_refused_before_anything_runs() -> None:
    with pytest.raises(SettingsError, match="set nnunet_model"):
        wanted.network_labels(scan(), Settings(method="nnunet"))


def test_the_torch_of_this_process_is_never_loaded() -> None:
    assert "torch" not in sys.modules
