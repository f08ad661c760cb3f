"""A user's nnU-Net v2 model: the face, and where it has them the ears, as a label map."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fw_gear_hndeface.errors import HndefaceError, SettingsError
from fw_gear_hndeface.model import Finding, Grid, Label, LabelMap, Level, RoiKind, Volume
from fw_gear_hndeface.networks.runner import has_gpu, network_grid, read_numbers, run_child, write_image
from fw_gear_hndeface.ops.labels import label_of

NAME = "nnunet"
INSTALL = "nnU-Net is not installed: pip install 'fw-gear-hndeface[totalseg]'."
#: Array axes (slice, row, column) that are reversed before a model sees them; the scan comes to it as LPS.
FLIPS: dict[str, tuple[int, ...]] = {"LPS": (), "RAS": (1, 2)}
CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")


@dataclass(frozen=True)
class Model:
    """A model folder: names of its labels by number, its file ending, its folds and the checkpoint they hold."""

    labels: dict[int, str]
    ending: str
    folds: tuple[str, ...]
    checkpoint: str


def missing() -> str | None:
    """What must be installed before a model can run here; None where nothing is."""
    return None if importlib.util.find_spec("nnunetv2") and importlib.util.find_spec("torch") else INSTALL


def read_model(folder: str) -> Model:
    """What a model folder says of itself.

    Raises
    ------
    SettingsError
        No folder, or one that holds no trained nnU-Net v2 model of a single CT channel.
    """
    if not folder:
        raise SettingsError("Method nnunet needs a model: set nnunet_model to the folder with dataset.json and fold_*.")
    path = Path(folder)
    try:
        dataset = json.loads((path / "dataset.json").read_text(encoding="utf-8"))
        plans = (path / "plans.json").is_file()
    except (OSError, ValueError) as error:
        raise SettingsError("Setting nnunet_model: that folder holds no readable dataset.json.") from error
    folds = sorted(child for child in path.glob("fold_*") if child.is_dir())
    checkpoint = next((name for name in CHECKPOINTS if folds and all((fold / name).is_file() for fold in folds)), None)
    if not plans or checkpoint is None:
        raise SettingsError("Setting nnunet_model: expected plans.json and fold_* folders that hold checkpoint_final.pth.")
    if len(dataset.get("channel_names", {"0": "CT"})) != 1:
        raise SettingsError("Setting nnunet_model: the model takes several channels; a CT is one.")
    numbers = {int(n): str(name) for name, n in dataset.get("labels", {}).items() if isinstance(n, int) and n > 0}
    names = tuple(fold.name.removeprefix("fold_") for fold in folds)
    return Model(numbers, str(dataset.get("file_ending", ".nii.gz")), names, checkpoint)


def face_labels(model: Model) -> dict[int, Label]:
    """The model's labels, the face's among them under our word.

    Raises
    ------
    SettingsError
        None is called face, and there is more than one that could be.
    """
    labels = {number: label_of(number, name) for number, name in model.labels.items()}
    if not any(label.meaning == "face" for label in labels.values()):
        if len(labels) != 1:
            raise SettingsError(f"Setting nnunet_model: none of its {len(labels)} labels is called face.")
        ((number, only),) = labels.items()
        labels = {number: Label(number, only.name, "face", RoiKind.OTHER)}
    return labels


def segment_face(
    volume: Volume, around: Grid, folder: str, *, use_gpu: bool, orientation: str = "LPS"
) -> tuple[LabelMap, tuple[Finding, ...]]:
    """The face as the model sees it, on a 1 mm grid along the patient axes around a window of the scan.

    Parameters
    ----------
    orientation : how the arrays lay that the model was trained on, a key of `FLIPS`

    Raises
    ------
    SettingsError, HndefaceError
        The model cannot be used, or it failed.
    """
    model = read_model(folder)
    labels = face_labels(model)
    lacking = missing()
    if lacking is not None:
        raise HndefaceError(lacking)
    grid, device, flips = network_grid(volume, around), "cuda" if use_gpu and has_gpu() else "cpu", FLIPS[orientation]
    with tempfile.TemporaryDirectory(prefix="nnunet-") as place:
        work = Path(place)
        (work / "in").mkdir()
        write_image(volume, grid, work / "in" / f"case_0000{model.ending}", flips=flips)
        arguments = ["-i", str(work / "in"), "-o", str(work / "out"), "-m", str(Path(folder).resolve()), "-f", *model.folds]
        arguments += ["-chk", model.checkpoint, "-device", device, "-npp", "1", "-nps", "1", "--disable_progress_bar"]
        variables = dict.fromkeys(("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"), str(work))
        entry = "nnunetv2.inference.predict_from_raw_data:predict_entry_point_modelfolder"
        run_child(entry, arguments, variables, "The nnU-Net model")
        numbers = read_numbers(work / "out" / f"case{model.ending}", grid, flips=flips)
    return LabelMap(grid, numbers, labels, NAME), _told() if use_gpu and device == "cpu" else ()


def _told() -> tuple[Finding, ...]:
    text = "nnU-Net found no GPU it can use and ran on the CPU, which takes minutes instead of seconds."
    return (Finding(Level.WARNING, "network_on_cpu", text, NAME),)
