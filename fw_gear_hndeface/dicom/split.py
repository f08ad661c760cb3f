"""A study's archive as one archive for each of its series, beside it."""

from __future__ import annotations

import re
from pathlib import Path

from fw_gear_hndeface.dicom.archive import ArchiveWriter, open_inputs
from fw_gear_hndeface.dicom.headers import Instance
from fw_gear_hndeface.dicom.limits import Limits
from fw_gear_hndeface.dicom.study import read_contents

ENDING = ".dicom.zip"
_PART = re.compile(r"\.\d{2,}-([A-Za-z]{2,10})\.dicom\.zip")


def split_series(study: Path, limits: Limits) -> tuple[Path, ...]:
    """Write an archive for each series of a study's archive: the same members, named by a count and the modality."""
    base = study.name.removesuffix(ENDING)
    with open_inputs([study], limits, study.parent) as archive:
        groups: dict[str, tuple[str, list[Instance]]] = {}
        for series in read_contents(archive).series:
            groups.setdefault(series.uid, (series.modality, []))[1].extend(series.instances)
        paths = []
        for number, (modality, instances) in enumerate(groups.values(), start=1):
            path = study.with_name(f"{base}.{number:02d}-{modality}{ENDING}")
            with ArchiveWriter(path) as writer:
                for instance in sorted(instances, key=lambda one: one.member.order):
                    writer.write(instance.member.name, instance.member.read())
            paths.append(path)
    return tuple(paths)


def modality_of(name: str) -> str | None:
    """The modality in the name of a series' archive; None for any other name."""
    found = _PART.search(name)
    return found[1] if found and found.end() == len(name) else None
