"""References that would lead out of the archive go, with what is nothing without them, and nothing else does."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence

from fw_gear_hndeface.dicom.references import Output, drop_dangling
from tests.dicom import build

OUT = Output(
    objects=frozenset({"1.2.3.100001", "1.2.3.100002", "1.2.3.400000"}),
    series=frozenset({"1.2.3.200001"}),
    frames=frozenset({"1.2.3.300001"}),
    given=frozenset({"1.2.3.100001", "1.2.3.100002", "1.2.3.100009"}),
)


def item(**values: object) -> Dataset:
    out = Dataset()
    for name, value in values.items():
        setattr(out, name, DicomSequence(value) if isinstance(value, list) else value)
    return out


def to(uid: str) -> Dataset:
    return item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=uid)


def read_back(ds: Dataset) -> Dataset:
    """As the writer meets it: elements not parsed yet."""
    whole = build.ct_series()[0]
    whole.update(ds)
    return build.parsed(build.encoded(whole))


def test_only_references_that_lead_nowhere_go() -> None:
    ds = read_back(
        item(ReferencedImageSequence=[to("1.2.3.100001"), to("1.2.3.999999")], SourceImageSequence=[to("1.2.3.9999999")])
    )
    names = {str(tag) for tag in drop_dangling(ds, OUT)}
    assert [str(one.ReferencedSOPInstanceUID) for one in ds.ReferencedImageSequence] == ["1.2.3.100001"]
    assert "SourceImageSequence" not in ds
    assert len(names) == 2
    assert drop_dangling(ds, OUT) == set()


def test_a_list_of_a_series_goes_with_the_series_or_with_its_last_entry() -> None:
    whole = item(SeriesInstanceUID="1.2.3.200001", ReferencedInstanceSequence=[to("1.2.3.100002"), to("1.2.3.999999")])
    lost = item(SeriesInstanceUID="1.2.3.200009", ReferencedInstanceSequence=[to("1.2.3.100002")])
    emptied = item(SeriesInstanceUID="1.2.3.200001", ReferencedInstanceSequence=[to("1.2.3.999999")])
    ds = read_back(item(ReferencedSeriesSequence=[whole, lost, emptied]))
    drop_dangling(ds, OUT)
    (kept,) = ds.ReferencedSeriesSequence
    assert [str(one.ReferencedSOPInstanceUID) for one in kept.ReferencedInstanceSequence] == ["1.2.3.100002"]


def test_the_study_of_a_structure_set_is_no_object_but_goes_when_nothing_is_below_it() -> None:
    def frame(uid: str, image: str) -> Dataset:
        series = item(SeriesInstanceUID="1.2.3.200001", ContourImageSequence=[to(image)])
        study = item(ReferencedSOPInstanceUID="1.2.3.400009", RTReferencedSeriesSequence=[series])
        return item(FrameOfReferenceUID=uid, RTReferencedStudySequence=[study])

    frames = [
        frame("1.2.3.300001", "1.2.3.100001"),
        frame("1.2.3.300001", "1.2.3.999999"),
        frame("1.2.3.300009", "1.2.3.100001"),
    ]
    ds = read_back(item(ReferencedFrameOfReferenceSequence=frames))
    drop_dangling(ds, OUT)
    assert len(ds.ReferencedFrameOfReferenceSequence) == 2
    first, second = ds.ReferencedFrameOfReferenceSequence
    assert "RTReferencedStudySequence" in first
    assert "RTReferencedStudySequence" not in second


def test_a_dose_names_its_plan_unless_that_was_given_and_left_out() -> None:
    for uid, stays in (("1.2.3.100001", True), ("1.2.3.999999", True), ("1.2.3.100009", False)):
        ds = read_back(item(ReferencedRTPlanSequence=[to(uid)]))
        drop_dangling(ds, OUT)
        assert ("ReferencedRTPlanSequence" in ds) is stays, uid


def test_registrations_of_frames_that_are_not_there_go() -> None:
    ds = read_back(
        item(
            RegistrationSequence=[item(FrameOfReferenceUID="1.2.3.300001"), item(FrameOfReferenceUID="1.2.3.300009")],
            DeformableRegistrationSequence=[item(SourceFrameOfReferenceUID="1.2.3.300009")],
        )
    )
    drop_dangling(ds, OUT)
    assert [str(one.FrameOfReferenceUID) for one in ds.RegistrationSequence] == ["1.2.3.300001"]
    assert "DeformableRegistrationSequence" not in ds
