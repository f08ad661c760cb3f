"""The audit over a whole defaced study finds nothing; over the same study with one object as it was, it names that object."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from scipy import ndimage

from fw_gear_hndeface.evaluate.audit import audit
from fw_gear_hndeface.synthetic.head import SyntheticHead
from tests import labelled
from tests import phantom as make
from tests.dicom import build
from tests.dicom import family as family_of
from tests.e2e.jobs import run_cli

pytestmark = pytest.mark.slow


def segments(head: SyntheticHead) -> bytes:
    """The body, the room around it and a shell of skin, as a planning system's segmentation."""
    body = np.stack([ndimage.binary_fill_holes(part) for part in head.volume.array > -300])
    masks = {"body": body, "air": ~body, "skin": body & ~ndimage.binary_erosion(body, iterations=2)}
    return labelled.segmentation(masks, head.volume.grid)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes], dict[str, bytes]]:
    """The study as it was, and its members before and after."""
    folder = tmp_path_factory.mktemp("audit")
    head = make.phantom(4, plain=True)
    family = family_of.Family.of(head, folder)
    family_of.add_pet(family, head)
    to_mr = family_of.rigid(9.0, (14.0, -22.0, 30.0), head.landmarks["nasion"].point)
    family_of.add_mr(family, head, frame=family_of.OTHER_FRAME, moved=to_mr)
    family_of.add_registration(family, np.linalg.inv(to_mr))
    seg = dcmread(io.BytesIO(segments(head)))
    seg.FrameOfReferenceUID, seg.StudyInstanceUID = family.frame, family.study
    family.members["SEG/1"] = family_of.encoded(seg)
    source = build.zip_of(folder / "in.zip", family.members)
    done = run_cli(["run", str(source), "-o", "output", "--set", "seed=3"], folder)
    assert done.code == 0, done.told
    with zipfile.ZipFile(done.image) as archive:
        after = {name: archive.read(name) for name in archive.namelist()}
    assert set(after) == set(family.members)
    return source, family.members, after


def test_the_whole_output_is_safe(study: tuple[Path, dict[str, bytes], dict[str, bytes]], tmp_path: Path) -> None:
    source, _, after = study
    found = audit([build.zip_of(tmp_path / "out.zip", after)], [source], tmp_path)
    assert found.is_safe, [sight.message for sight in found.sights]


@pytest.mark.parametrize("modality", ["RTSTRUCT", "RTDOSE", "MR", "PT", "SEG"])
def test_one_object_as_it_was_is_found_and_named(
    study: tuple[Path, dict[str, bytes], dict[str, bytes]], tmp_path: Path, modality: str
) -> None:
    source, before, after = study
    swapped = {
        name: before[name] if dcmread(io.BytesIO(data), stop_before_pixels=True).Modality == modality else data
        for name, data in after.items()
    }
    found = audit([build.zip_of(tmp_path / "out.zip", swapped)], [source], tmp_path)
    assert not found.is_safe
    assert {sight.where.split()[0] for sight in found.sights} == {modality}
