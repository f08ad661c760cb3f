"""A whole defaced study to a PACS and back: accepted object by object, and the same bytes again; other readers, too."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import shutil
import socket
import subprocess
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.dicomio
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from tests import labelled
from tests import phantom as make
from tests.dicom import build
from tests.dicom import family as family_of
from tests.dicom.resolve import archive_files, dangling
from tests.e2e.jobs import Done, run_cli

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Sent:
    """A defaced study, its run, and its files by name."""

    done: Done
    files: dict[str, bytes]
    folder: Path


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Sent:
    folder = tmp_path_factory.mktemp("orthanc")
    head = make.phantom(4, plain=True)
    family = family_of.Family.of(head, folder)
    (dose,) = family.by_modality("RTDOSE")
    family_of.add_plan(family, str(dose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID))
    family_of.add_pet(family, head)
    to_mr = family_of.rigid(9.0, (14.0, -22.0, 30.0), head.landmarks["nasion"].point)
    family_of.add_mr(family, head, frame=family_of.OTHER_FRAME, moved=to_mr)
    family_of.add_registration(family, np.linalg.inv(to_mr))
    masks = {name: head.structures[name].array for name in ("BODY", "Parotid_L")}
    segmentation = dcmread(io.BytesIO(labelled.segmentation(masks, head.volume.grid, frame=family.frame, kind="LABELMAP")))
    segmentation.StudyInstanceUID, segmentation.PatientID = family.study, family.first_ct.PatientID
    family.members["SEG"] = family_of.encoded(segmentation)
    source = build.zip_of(folder / "in.zip", family.members)
    done = run_cli(["run", str(source), "-o", "output", "--set", "seed=3"], folder)
    assert done.code == 0, done.told
    with zipfile.ZipFile(done.image) as archive:
        return Sent(done, {name: archive.read(name) for name in archive.namelist()}, folder)


def test_the_whole_family_left_together(study: Sent) -> None:
    assert {entry["kind"] for entry in study.done.record["objects"] if entry["fate"] == "carried"} == {
        "RTSTRUCT", "RTDOSE", "RTPLAN", "PET", "MR", "REG", "SEG",
    }  # fmt: skip
    assert dangling(archive_files(study.done.image), allowed=()) == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def orthanc(folder: Path) -> Iterator[tuple[int, str]]:
    """A server of its own: DICOM port and web address."""
    dicom, web = free_port(), free_port()
    settings = {
        "StorageDirectory": str(folder / "store"), "IndexDirectory": str(folder / "store"),
        "DicomPort": dicom, "HttpPort": web, "DicomAet": "ORTHANC", "DicomAlwaysAllowStore": True,
        "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "Plugins": [],
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    program = shutil.which("Orthanc") or "Orthanc"
    with subprocess.Popen(
        [program, str(folder / "orthanc.json")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            _wait(f"http://127.0.0.1:{web}/system")
            yield dicom, f"http://127.0.0.1:{web}"
        finally:
            server.terminate()
            server.wait(20)


def _wait(address: str) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=2):
            return
        time.sleep(0.2)
    raise AssertionError("Orthanc did not start")


def fetched(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return answer.read()


def body(data: bytes) -> bytes:
    """What comes behind the file's own header, which every archive writes anew."""
    return data[144 + int.from_bytes(data[140:144], "little") :]  # the first element of group 2 holds its length


@pytest.mark.skipif(shutil.which("Orthanc") is None, reason="Orthanc is not installed (apt-get install orthanc)")
@pytest.mark.skipif(importlib.util.find_spec("pynetdicom") is None, reason="pynetdicom is not installed")
def test_orthanc_takes_every_object_and_gives_back_the_same_bytes(study: Sent) -> None:
    from pynetdicom import AE, _config
    from pynetdicom.presentation import build_context

    _config.STORE_SEND_CHUNKED_DATASET = True  # the file's bytes as they are, not encoded once more
    kinds = {(str(ds.SOPClassUID), str(ds.file_meta.TransferSyntaxUID)) for ds in map(build.parsed, study.files.values())}
    caller = AE(ae_title="TEST")
    caller.requested_contexts = [build_context(*kind) for kind in sorted(kinds)]
    with orthanc(study.folder) as (port, web):
        link = caller.associate("127.0.0.1", port, ae_title="ORTHANC")
        assert link.is_established
        for number, data in enumerate(study.files.values()):
            path = study.folder / f"{number}.dcm"
            path.write_bytes(data)
            assert link.send_c_store(path).Status == 0
        link.release()
        ids = json.loads(fetched(f"{web}/instances"))
        back = [fetched(f"{web}/instances/{one}/file") for one in ids]
        studies = json.loads(fetched(f"{web}/studies"))
    assert len(studies) == 1
    assert len(back) == len(study.files)
    sent = {str(build.parsed(data).SOPInstanceUID): body(data) for data in study.files.values()}
    received = {str(build.parsed(data).SOPInstanceUID): body(data) for data in back}
    assert set(sent) == set(received)
    assert [uid for uid in sent if sent[uid] != received[uid]] == []


def test_simpleitk_reads_every_image_series(study: Sent) -> None:
    for modality in ("CT", "PT", "MR"):
        folder = study.folder / modality
        folder.mkdir()
        for number, data in enumerate(study.files.values()):
            if build.parsed(data).Modality == modality:
                (folder / f"{number}.dcm").write_bytes(data)
        (series,) = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series))
        assert image.GetSize()[2] == len(list(folder.iterdir()))


@pytest.mark.skipif(importlib.util.find_spec("dicompylercore") is None, reason="dicompyler-core is not installed")
def test_dicompyler_finds_the_same_dose_in_every_kept_region(study: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom.dicomio, "read_file", dcmread, raising=False)  # its name until pydicom 3
    from dicompylercore import dicomparser, dvhcalc

    with zipfile.ZipFile(study.folder / "in.zip") as archive:
        before = {name: archive.read(name) for name in ("RT/RTSTRUCT.dcm", "RT/RTDOSE.dcm")}
    sides = [{name: build.parsed(side[name]) for name in before} for side in (before, study.files)]
    sets = [dicomparser.DicomParser(side["RT/RTSTRUCT.dcm"]).GetStructures() for side in sides]
    assert {number: one["name"] for number, one in sets[0].items()} == {number: one["name"] for number, one in sets[1].items()}
    (entry,) = [one for one in study.done.record["objects"] if one["kind"] == "RTDOSE"]
    told = {region["number"]: region for region in entry["rois"]}
    compared = 0
    for number, one in sets[0].items():
        if one["name"] in ("PTV70", "Parotid_L", "Brain", "Bone_Mandible"):
            old, new = (dvhcalc.get_dvh(side["RT/RTSTRUCT.dcm"], side["RT/RTDOSE.dcm"], number) for side in sides)
            assert np.array_equal(old.counts, new.counts), one["name"]
            assert told[number]["after"]["mean"] == pytest.approx(new.mean, abs=0.8)
            assert told[number]["after"]["max"] == pytest.approx(new.max, abs=0.8)
            compared += 1
    assert compared == 4


@pytest.mark.skipif(importlib.util.find_spec("rt_utils") is None, reason="rt-utils is not installed")
def test_rt_utils_reads_the_structure_set(study: Sent) -> None:
    from rt_utils import RTStructBuilder

    folder = study.folder / "rt"
    folder.mkdir()
    for number, data in enumerate(study.files.values()):
        ds = build.parsed(data)
        if ds.Modality == "CT":
            (folder / f"{number}.dcm").write_bytes(data)
    (study.folder / "rs.dcm").write_bytes(study.files["RT/RTSTRUCT.dcm"])
    sets = RTStructBuilder.create_from(str(folder), str(study.folder / "rs.dcm"))
    assert sets.get_roi_mask_by_name("PTV70").any()


@pytest.mark.skipif(shutil.which("plastimatch") is None, reason="plastimatch is not installed")
def test_plastimatch_reads_the_structure_set(study: Sent) -> None:
    (study.folder / "ss.dcm").write_bytes(study.files["RT/RTSTRUCT.dcm"])
    command = ["plastimatch", "convert", "--input", str(study.folder / "ss.dcm"), "--output-cxt", str(study.folder / "ss.cxt")]
    assert subprocess.run(command, capture_output=True, check=False, timeout=300).returncode == 0
    assert "PTV70" in (study.folder / "ss.cxt").read_text(errors="replace")
