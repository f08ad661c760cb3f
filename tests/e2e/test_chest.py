"""A rule runs the gear on every CT that comes in: one without a head leaves before anything that only a face needs.

What that takes is measured by `scripts/bench --faceless`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import phantom
from tests.e2e import studies
from tests.e2e.jobs import lay_out, run_job

pytestmark = pytest.mark.slow


def test_a_chest_of_300_slices_leaves_once_no_face_was_found(tmp_path: Path) -> None:
    source = studies.write_zip(tmp_path / "chest.zip", studies.ct_members(phantom.fine_chest()))
    done = run_job(lay_out(tmp_path / "job", source, name="chest.zip"))
    assert (done.code, done.record["verdict"]) == (0, "no_face"), done.told
    assert set(done.record["seconds"]) == {"read", "segment", "locate", "total"}
    assert done.record["peak_mb"] < 1000
