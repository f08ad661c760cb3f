"""scripts/fetch_weights names the same archives as the installed TotalSegmentator."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

tables = pytest.importorskip("totalsegmentator.map_tasks_config", reason="TotalSegmentator is not installed")
pytestmark = pytest.mark.slow

FETCH = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "fetch_weights"), run_name="fetch")


def address(number: int) -> str:
    """Release and folder of a model as the package has them."""
    entry = tables.TASK_ID_WEIGHTS_CONFIGS[number]
    return f"{entry['version']}/{entry['foldername']}"


@pytest.mark.parametrize("task", FETCH["MODELS"])
def test_each_task_has_the_address_of_its_model(task: str) -> None:
    assert FETCH["MODELS"][task] == address(tables.TASK_CONFIGS[task]["task_id"])


def test_the_model_that_finds_the_head_has_its_address() -> None:
    assert FETCH["CROP"] == address(298)
