"""References that would lead out of the archive: taken away, together with what is nothing without them."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import BaseTag, Tag

from fw_gear_hndeface.dicom.headers import PIXEL_DATA

#: The ends of references: an object, a series, and frames of reference, as little- and big-endian bytes.
_ENDS = tuple(
    mark
    for group, element in ((0x0008, 0x1155), (0x0020, 0x000E), (0x0020, 0x0052), (0x0064, 0x0003))
    for mark in (
        group.to_bytes(2, "little") + element.to_bytes(2, "little"),
        group.to_bytes(2, "big") + element.to_bytes(2, "big"),
    )
)
#: A study is no object; what it names lies below it.
_STUDIES = {Tag("RTReferencedStudySequence")}
#: A dose of a plan must say which plan (Type 1C): the reference stays where no plan was given, with the UID that the plan
#: would get.
_DEMANDED = {Tag("ReferencedRTPlanSequence")}
#: Items that are nothing without what they list.
_LISTS = {
    Tag(name)
    for name in (
        "ReferencedSeriesSequence",
        "RTReferencedSeriesSequence",
        "RTReferencedStudySequence",
        "StudiesContainingOtherReferencedInstancesSequence",
    )
}
_FRAMES = {
    Tag(name) for name in ("ReferencedFrameOfReferenceSequence", "RegistrationSequence", "DeformableRegistrationSequence")
}


@dataclass(frozen=True)
class Output:
    """What the archive holds, by new UIDs.

    Attributes
    ----------
    objects, series, frames : UIDs of the objects written, of their series and of the frames of reference of their images
    given : objects of the job; one of them that is not written was left out
    """

    objects: frozenset[str] = field(default_factory=frozenset)
    series: frozenset[str] = field(default_factory=frozenset)
    frames: frozenset[str] = field(default_factory=frozenset)
    given: frozenset[str] = field(default_factory=frozenset)


def drop_dangling(dataset: Dataset, output: Output) -> set[BaseTag]:
    """Take away every reference to what is not in the output, at any depth, in place; the tags that changed.

    An item that refers to an object, series or frame of reference outside goes; so does a list of references that loses its
    last one, and a sequence that loses its last item. UIDs must be the new ones already.
    """
    touched = set()
    for tag in list(dataset.keys()):
        if tag != PIXEL_DATA and _may_refer(dataset.get_item(tag)) and _prune(dataset, tag, output):
            touched.add(tag)
    return touched


def _may_refer(item: object) -> bool:
    if isinstance(item, RawDataElement):
        return isinstance(item.value, bytes) and any(mark in item.value for mark in _ENDS)
    return True


def _prune(dataset: Dataset, tag: BaseTag, output: Output) -> bool:
    """Prune one sequence; whether that changed anything."""
    element = dataset[tag]
    if element.VR != "SQ" or not element.value:
        return False
    verdicts = [_judge(item, tag, output) for item in element.value]
    if not any(changed for _, changed in verdicts):
        return False
    kept = [item for item, (stays, _) in zip(element.value, verdicts, strict=True) if stays]
    if kept:
        element.value = DicomSequence(kept)
    else:
        del dataset[tag]
    return True


def _judge(item: Dataset, tag: BaseTag, output: Output) -> tuple[bool, bool]:
    """Whether an item stays, and whether anything changed."""
    had = {inner for inner in item.keys() if item[inner].VR == "SQ"} if tag in _LISTS else set()  # noqa: SIM118
    changed = bool(drop_dangling(item, output))
    stays = not _leads_out(item, tag, output) and all(inner in item for inner in had)
    return stays, changed or not stays


def _leads_out(item: Dataset, tag: BaseTag, output: Output) -> bool:
    if tag not in _STUDIES and "ReferencedSOPInstanceUID" in item:
        uid = str(item.ReferencedSOPInstanceUID)
        return uid not in output.objects and (tag not in _DEMANDED or uid in output.given)
    if "SeriesInstanceUID" in item and str(item.SeriesInstanceUID) not in output.series:
        return True
    frame = str(item.get("FrameOfReferenceUID") or item.get("SourceFrameOfReferenceUID") or "") if tag in _FRAMES else ""
    return bool(frame) and frame not in output.frames
