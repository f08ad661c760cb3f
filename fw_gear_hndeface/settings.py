"""One frozen `Settings`; the manifest's `config`, the command line's `--set` and the report are all written from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

from fw_gear_hndeface.errors import SettingsError
from fw_gear_hndeface.label_tables import LABEL_TABLES, TOTALSEG_LICENSED, TOTALSEG_TASKS
from fw_gear_hndeface.vocabulary import LANDMARK_MODELS, LANDMARK_SOURCES, METHOD_NAMES


def _option(
    default: Any,
    help_text: str,
    *,
    choices: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
    platform: bool = True,
) -> Any:
    """A settings field; `platform=False` keeps it out of the gear's manifest (limits an administrator sets in the image)."""
    bounds = {"choices": choices, "low": low, "high": high}
    return field(default=default, metadata={"help": help_text, "platform": platform, **bounds})


@dataclass(frozen=True)
class Settings:
    """Every choice a user has. Lengths are mm, sizes MB, unless the name says otherwise."""

    method: str = _option("membrane", "How the face is changed; `hndeface methods` lists them.", choices=METHOD_NAMES)
    landmarks: str = _option(
        "auto",
        "Where facial landmarks come from: auto takes every source that can speak.",
        choices=("auto", *LANDMARK_SOURCES),
    )
    landmark_model: str = _option(
        "dlib68",
        "Model that places points on a rendered face: dlib68, whose training data forbid commercial use, or none, which never "
        "loads it. Without it drawn eyes or a label map must help to place a whole face.",
        choices=LANDMARK_MODELS,
    )
    totalseg_tasks: str = _option(
        "",
        "Tasks of TotalSegmentator to run on the head, by commas: head_glands_cavities, craniofacial_structures, "
        "headneck_bones_vessels, head_muscles, total. It must be installed with its weights; minutes on a CPU.",
    )
    nnunet_model: str = _option("", "Folder of a trained nnU-Net v2 model that finds the face, for method=nnunet.")
    nnunet_orientation: str = _option(
        "LPS", "How the arrays lay that nnunet_model was trained on; MOOSE's models want RAS.", choices=("LPS", "RAS")
    )
    label_table: str = _option(
        "auto",
        "What the numbers of a NIfTI label map mean: auto takes the names in the file or in a JSON file beside it; or a table.",
        choices=("auto", *LABEL_TABLES),
    )
    fill: str = _option(
        "auto",
        "What takes the face's place in methods that leave it open: auto as the method does, face for tissue like the "
        "neighbours', air, or a number of HU (-1024 to 3071).",
    )
    ears: str = _option(
        "keep",
        "Outer ears: keep them, or flatten: take off what stands out of the sides of the head as a leaf, not the canal.",
        choices=("keep", "flatten"),
    )
    targets: str = _option(
        "keep",
        "Where the face zone meets a target volume: keep its voxels and report, or refuse the study.",
        choices=("keep", "refuse"),
    )
    target_margin_mm: float = _option(0.0, "Extra rim kept around every target.", low=0.0, high=30.0)
    organ_margin_mm: float = _option(0.0, "Extra rim kept around every organ and node.", low=0.0, high=30.0)
    other_frames: str = _option(
        "drop",
        "Objects in another frame of reference that no registration object leads to: leave them out, register their images "
        "with the CT (checked; left out where that is not sure), or refuse the study.",
        choices=("drop", "register", "refuse"),
    )
    privacy: str = _option(
        "enforce",
        "enforce: a result that can be matched to the original is never written; report: write it, marked FAIL.",
        choices=("enforce", "report"),
    )
    max_uncertainty_mm: float = _option(
        12.0, "Refuse when the face cannot be placed more surely than this (one sigma).", low=2.0, high=50.0
    )
    image_type: str = _option(
        "derived",
        "First value of ImageType in the output: derived as the standard asks, or as received.",
        choices=("derived", "keep"),
    )
    series_archives: bool = _option(False, "Beside the study's archive, write one archive for each series in it.")
    seed: int = _option(
        0,
        "Seed of the random part of the new surface. 0 draws a secret one for each run; any other value makes the "
        "run repeatable, and the surface invertible by whoever knows it.",
        low=0,
        high=2**31 - 1,
    )
    use_gpu: bool = _option(True, "Use a CUDA GPU where a landmark source can and there is one; otherwise the CPU, and say so.")
    on_qc_fail: str = _option(
        "fail-job",
        "If a study is refused: exit non-zero, or exit 0 with tags. No image is written in either case.",
        choices=("fail-job", "tag-only"),
    )
    tag: str = _option("hndeface", "Tag on defaced outputs; name it in the EXCEPT clause of gear rules.")
    report_before_images: bool = _option(
        False,
        "Show the original face in the report, too. The page then says so in a banner and in its file name; do not share it.",
    )
    debug: bool = _option(False, "Debug messages in the job log.")
    max_members: int = _option(200_000, "Most files one archive may hold.", low=1, high=10_000_000, platform=False)
    max_member_mb: int = _option(2_048, "Largest file in an archive, unpacked.", low=1, high=1_000_000, platform=False)
    max_total_mb: int = _option(65_536, "All files of an archive together, unpacked.", low=1, high=10_000_000, platform=False)
    max_ratio: int = _option(200, "Largest unpacked-to-packed ratio of an archive.", low=2, high=100_000, platform=False)
    max_nesting: int = _option(3, "How deep archives may lie inside archives.", low=0, high=10, platform=False)

    def __post_init__(self) -> None:
        for spec in fields(self):
            _check(spec.name, getattr(self, spec.name), spec.metadata)
        _check_fill(self.fill)
        _check_tasks(self.totalseg_task_names)
        if self.landmarks == "rendered_face" and self.landmark_model == "none":
            raise SettingsError(
                "Setting landmarks: rendered_face needs a landmark_model; got none. Take dlib68 or landmarks=auto."
            )

    @property
    def flattens_ears(self) -> bool:
        """Whether the outer ears are taken off."""
        return self.ears == "flatten"

    @property
    def totalseg_task_names(self) -> tuple[str, ...]:
        """The tasks of `totalseg_tasks`, each once."""
        return tuple(dict.fromkeys(name.strip() for name in self.totalseg_tasks.split(",") if name.strip()))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from names and values of any origin (gear config, command line); text is converted.

        Raises
        ------
        SettingsError
            A name that is no setting, or a value of the wrong type or out of bounds.
        """
        kinds = get_type_hints(cls)
        names = {spec.name for spec in fields(cls)}
        unknown = sorted(set(values) - names)
        if unknown:
            raise SettingsError(f"'{unknown[0]}' is no setting; the settings are {', '.join(sorted(names))}.")
        return cls(**{name: _convert(name, value, kinds[name]) for name, value in values.items()})


def _convert(name: str, value: Any, kind: type) -> Any:
    if kind is bool and isinstance(value, str):
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if value.lower() in words:
            return words[value.lower()]
    elif kind in (int, float) and not isinstance(value, bool):
        try:
            number = kind(value)
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is not None and (kind is float or float(value) == number):
            return number
    elif isinstance(value, kind):
        return value
    raise SettingsError(f"Setting {name}: got '{value}', expected {kind.__name__}.")


def _check_fill(fill: str) -> None:
    number = re.fullmatch(r"-?\d{1,4}", fill)
    if fill not in ("auto", "face", "air") and not (number and -1024 <= int(fill) <= 3071):
        raise SettingsError(f"Setting fill: got '{fill}', expected auto, face, air, or HU from -1024 to 3071.")


def _check_tasks(tasks: tuple[str, ...]) -> None:
    for task in tasks:
        if task not in TOTALSEG_TASKS:
            why = "needs a licence and is not run here" if task in TOTALSEG_LICENSED else "is not used here"
            raise SettingsError(f"Setting totalseg_tasks: '{task}' {why}; expected some of {', '.join(TOTALSEG_TASKS)}.")


def _check(name: str, value: Any, rules: Mapping[str, Any]) -> None:
    choices, low, high = rules["choices"], rules["low"], rules["high"]
    if choices and value not in choices:
        raise SettingsError(f"Setting {name}: got '{value}', expected one of {', '.join(choices)}.")
    if low is not None and not low <= value <= high:
        raise SettingsError(f"Setting {name}: got {value}, expected {low} to {high}.")
