"""What hostile input is thrown at, and what may come of it: a result, or an error that is ours."""

from __future__ import annotations

import gzip
import io
import struct
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from random import Random
from unittest import mock

import nibabel
import numpy as np

from fw_gear_hndeface import pipeline
from fw_gear_hndeface.batch.discover import files_below, find_studies
from fw_gear_hndeface.casework import Case, Defaced
from fw_gear_hndeface.dicom.archive import open_inputs
from fw_gear_hndeface.dicom.limits import Limits
from fw_gear_hndeface.dicom.pixels import check_format, read_stored
from fw_gear_hndeface.dicom.rtdose import read_doses
from fw_gear_hndeface.dicom.rtstruct import read_rois
from fw_gear_hndeface.dicom.series import read_stacks
from fw_gear_hndeface.dicom.study import SeriesKind, read_contents
from fw_gear_hndeface.dicom.synthesize import StudyOptions, write_study
from fw_gear_hndeface.errors import HndefaceError
from fw_gear_hndeface.intake import take_labels
from fw_gear_hndeface.label_tables import LABEL_TABLES
from fw_gear_hndeface.model import Mask, Proposal
from fw_gear_hndeface.settings import Settings
from fw_gear_hndeface.synthetic.head import make_head
from fw_gear_hndeface.verify import roi_costs, verify
from tests import labelled
from tests.dicom import build, family, test_syntaxes
from tests.fuzz.mutate import archive, damaged, misdescribed
from tests.unit.test_pipeline import face, good

Members = Mapping[str, bytes]
Target = Callable[[Random, Path], None]
#: Small enough that nothing sound is refused, and that a limit that does not work is noticed.
LIMITS = Limits.of(Settings(max_members=200, max_member_mb=8, max_total_mb=32, max_ratio=200, max_nesting=2))
SETTINGS = Settings(seed=3, max_members=200, max_member_mb=8, max_total_mb=32)


@cache
def studies() -> tuple[Members, ...]:
    """Sound studies: every transfer syntax, and one with structure set, dose and localizer."""
    out: list[Members] = []
    for name in test_syntaxes.SYNTAXES:
        out.append(test_syntaxes.series(name, build.random_stored(shape=(4, 24, 28), signed=False)))
    for options in (StudyOptions(localizer=True), StudyOptions(syntax="implicit", signed=True), StudyOptions(syntax="big")):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "study.zip")
            write_study(make_head(11, shape=(6, 24, 20), spacing_mm=(40.0, 10.0, 11.0)), path, seed=2, options=options)
            with zipfile.ZipFile(path) as made:
                out.append({name: made.read(name) for name in made.namelist()})
    return tuple(out)


@cache
def relatives() -> Members:
    """A sound study of CT, structure set, dose, localizer, plan, PET, MR in another frame, and two registrations."""
    head = make_head(11, shape=(6, 24, 20), spacing_mm=(40.0, 10.0, 11.0))
    with tempfile.TemporaryDirectory() as folder:
        made = family.Family.of(head, Path(folder), localizer=True)
    (dose,) = made.by_modality("RTDOSE")
    family.add_plan(made, str(dose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID))
    shape, turn = (4, 14, 12), family.rigid(9.0, (4.0, -5.0, 6.0), head.landmarks["nasion"].point)
    middle = head.landmarks["nasion"].point
    lattice = family.lattice(shape, 15.0, np.fliplr(np.eye(3)), middle)
    values = np.random.default_rng(4).uniform(0, 900, shape)
    made.add_images(family.PET, 21, values, lattice, slopes=[0.9] * shape[0])
    made.add_images(family.MR, 22, values, turn @ lattice, slopes=[1.0] * shape[0], frame=family.OTHER_FRAME)
    family.add_registration(made, np.linalg.inv(turn))
    family.add_deformable(made, lattice, np.zeros((*shape, 3)), frame="1.2.826.0.1.99.7")
    masks = {name: mask.array for name, mask in list(head.structures.items())[:3]}
    made.members["SEG/1"] = labelled.segmentation(masks, head.volume.grid, frame=made.frame)
    return dict(made.members)


def companions(random: Random, work: Path) -> None:
    """A whole run on a study whose other objects are hostile: structures, dose, plan, registrations, PET, MR."""
    study = dict(relatives())
    others = [name for name in study if not name.startswith("CT/CT")]
    for name in random.sample(others, random.choice((1, 1, 2, 4))):
        change = misdescribed if random.random() < 0.8 else damaged
        study[name] = change(random, study[name])
    _run_whole(_zipped(study, work), work, Settings(seed=3, other_frames=random.choice(("drop", "register"))))


def containers(random: Random, work: Path) -> None:
    """Archives: opened, listed, read to the end, and looked through for studies."""
    path = work / random.choice(("in.zip", "in.tar", "in.tgz", "in"))
    few = dict(list(random.choice(studies()).items())[:2])
    path.write_bytes(archive(random, few))
    find_studies(files_below(path, work / "out"), b"k" * 16, LIMITS, on_file=lambda: None)
    with open_inputs([path], LIMITS, work) as opened:
        for member in opened.members:
            member.head(300)
            member.read()


def headers(random: Random, work: Path) -> None:
    """Single files: headers, sequences and pixels, whatever kind of object they are."""
    study = random.choice(studies())
    data = random.choice(list(study.values()))
    other = random.choice(list(random.choice(studies()).values()))
    changed = misdescribed(random, data) if random.random() < 0.6 else damaged(random, data, other)
    path = work / "file.dcm"
    path.write_bytes(changed)
    _read_all(path, work)


def _read_all(path: Path, work: Path) -> None:
    with open_inputs([path], LIMITS, work) as opened:
        for series in read_contents(opened).series:
            if series.kind is SeriesKind.RTSTRUCT:
                read_rois(series)
            elif series.kind is SeriesKind.RTDOSE:
                read_doses(series)
            else:
                check_format(series.instances[0])
                read_stored(series.instances[0])


def pixels(random: Random, work: Path) -> None:
    """Compressed and native pixels, damaged behind a header that is sound."""
    study = random.choice(studies()[:9])
    data = random.choice(list(study.values()))
    start = len(data) - random.randint(2, max(3, min(len(data) // 2, 1200)))
    path = work / "file.dcm"
    path.write_bytes(data[:start] + damaged(random, data[start:]))
    _read_all(path, work)


@cache
def label_map() -> tuple[bytes, bytes]:
    """A NIfTI label map whose header names its labels, and a JSON file that names them, too."""
    table = b"<CaretExtension><LabelTable><Label Key='1'>brain</Label></LabelTable></CaretExtension>"
    image = nibabel.Nifti1Image(np.eye(24, dtype=np.uint16).repeat(20, 0).reshape(24, 20, 24), np.diag([2.0, 2.0, 3.0, 1.0]))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, table))
    return image.to_bytes(), b'{"labels": {"1": "brain", "2": "eye_left"}, "more": [[[]]]}'


def labels(random: Random, work: Path) -> None:
    """NIfTI label maps and the JSON files beside them."""
    image, names = label_map()
    image = damaged(random, image) if random.random() < 0.85 else image
    if random.random() < 0.3:  # sizes and types that the file does not hold
        sizes = [random.choice((0, 1, 2, 5, 24, 300, 1000, 32767, 65535)) for _ in range(8)]
        image = (
            image[:40]
            + struct.pack("<8H", *sizes)
            + image[56:70]
            + struct.pack("<H", random.choice((2, 4, 8, 16, 64, 512, 9)))
            + image[72:]
        )
    if random.random() < 0.6:
        names = random.choice(
            (damaged(random, names), b"[" * 200_000, b'{"labels": {"' + b"9" * 9000 + b'": "x"}}', b'{"labels": 3}')
        )
    path = work / "maps.zip"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr(
            "map.nii.gz" if random.random() < 0.2 else "map.nii", gzip.compress(image) if random.random() < 0.2 else image
        )
        out.writestr(random.choice(("map.json", "dataset.json")), names)
    with open_inputs([path], LIMITS, work) as opened:
        take_labels(opened, random.choice(("auto", next(iter(LABEL_TABLES)))))


def volumes(random: Random, work: Path) -> None:
    """Series with one or two hostile files among sound ones, read as volumes."""
    with open_inputs([_spoilt_study(random, work)], LIMITS, work) as opened:
        for series in read_contents(opened).series:
            if series.kind is SeriesKind.CT:
                read_stacks(series)


def whole(random: Random, work: Path) -> None:
    """A whole run on a study with hostile files: only the search for a face is stood in for."""
    _run_whole(_spoilt_study(random, work), work, SETTINGS)


def _run_whole(path: Path, work: Path, settings: Settings) -> None:
    (work / "made").mkdir(exist_ok=True)
    with mock.patch.object(pipeline, "deface_case", _change_a_box):
        staged = pipeline.deface([path], work / "made", "out", settings, key=b"k" * 16, on_progress=lambda *_: None)
    images = [file for file in staged.files if file.name.endswith(".zip")]
    assert bool(images) == (staged.result.verdict in ("defaced", "partial")), "an image without a verdict, or the other way"
    for file in images:
        with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as made:
            assert made.testzip() is None


def _spoilt_study(random: Random, work: Path) -> Path:
    study = dict(random.choice(studies()))
    for name in random.sample(list(study), random.choice((1, 1, 2))):
        change = misdescribed if random.random() < 0.8 else damaged
        study[name] = change(random, study[name])
    return _zipped(study, work)


def _zipped(study: Members, work: Path) -> Path:
    path = work / "study.zip"
    with zipfile.ZipFile(path, "w") as out:
        for name, data in study.items():
            out.writestr(name, data)
    return path


def _change_a_box(case: Case, settings: Settings, seed: int, stage: object) -> Defaced:
    """Stands in for the face work: a box in the middle changes."""
    change = np.zeros(case.scan.grid.shape, dtype=np.bool_)
    change[tuple(slice(n // 3, max(2 * n // 3, n // 3 + 1)) for n in change.shape)] = True
    kept = case.padding or Mask.empty(case.scan.grid, "nothing")
    fill = np.full(int(change.sum()), -700, dtype=np.float32)
    plan = Proposal(Mask(case.scan.grid, change, "zone"), fill, "test").without(kept)
    after = plan.apply(case.scan)
    cost = verify(case.scan, after, plan, face().frame)
    return Defaced(face(), plan, cost, roi_costs(case.scan, after, case.rois), good(), 1.0, {}, ())


TARGETS: dict[str, Target] = {one.__name__: one for one in (containers, headers, pixels, labels, volumes, whole, companions)}


def warm_up() -> None:
    """Make all sound studies, which writes files for a moment."""
    studies()
    relatives()
    label_map()


def attack(name: str, seed: str, work: Path) -> str:
    """Throw one input at a target; 'taken', or the kind of error that turned it away. Anything else comes through."""
    try:
        TARGETS[name](Random(f"{name}|{seed}"), work)
    except HndefaceError as error:
        return type(error).__name__
    return "taken"


def read_file(data: bytes, work: Path) -> None:
    """A single file of any bytes, read for all it holds; errors that are ours are taken."""
    path = work / "file"
    path.write_bytes(data)
    try:
        _read_all(path, work)
    except HndefaceError:
        return
