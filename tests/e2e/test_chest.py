"""A rule runs the gear on every CT that comes in: one without a head must be done in seconds."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from fw_gear_hndeface.model import Grid, Volume
from tests import phantom
from tests.e2e import studies
from tests.e2e.jobs import lay_out, run_job

pytestmark = pytest.mark.slow
SHAPE = (300, 512, 512)
#: Twice what was measured, start-up included: CPU seconds do not depend on who else uses the machine, much.
MOST_CPU_S = 5.0


def test_a_chest_of_300_slices_leaves_after_seconds(tmp_path: Path) -> None:
    small = phantom.chest()
    shape = small.grid.shape
    index = [np.arange(large) * few // large for large, few in zip(SHAPE, shape, strict=True)]
    affine = np.array(small.grid.affine)
    affine[:3, :3] *= np.array(shape) / np.array(SHAPE)
    noise = np.random.default_rng(5).normal(0.0, 10.0, SHAPE).astype(np.int16)
    chest = Volume(Grid(SHAPE, affine, small.grid.frame), (small.array[np.ix_(*index)] + noise).astype(np.int16))
    source = studies.write_zip(tmp_path / "chest.zip", studies.ct_members(chest))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run_job(lay_out(tmp_path / "job", source, name="chest.zip"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.code, done.record["verdict"]) == (0, "no_face"), done.told
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < MOST_CPU_S
    assert done.record["peak_mb"] < 1000
