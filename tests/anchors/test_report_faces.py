"""No picture of a report can be matched to the original: the recogniser looks at every one, as whoever finds the page would."""

from __future__ import annotations

import base64
import gzip
import html.parser
import io
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fw_gear_hndeface.casework import Case, deface_case
from fw_gear_hndeface.model import Grid, Mask, Result, RoiKind, Verdict, Volume
from fw_gear_hndeface.privacy.attempts import try_attacks
from fw_gear_hndeface.privacy.check import gallery, likenesses
from fw_gear_hndeface.privacy.recognise import find_face
from fw_gear_hndeface.privacy.views import face_surface
from fw_gear_hndeface.report import write_report
from fw_gear_hndeface.report.exhibit import Exhibit, Shown
from fw_gear_hndeface.report.scene import scene_of
from fw_gear_hndeface.settings import Settings
from tests import phantom as make
from tests.chain import SEED, drawn, frame_of, no_stage

pytestmark = pytest.mark.slow
#: What attacks find a surface in a head without a thermoplastic mask.
ATTACKED = ("smoothing", "low_pass", "regrowing", "shrinking", "fill_texture", "muscle", "bone")


class Images(html.parser.HTMLParser):
    """Every picture of a page by name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, NDArray[np.uint8]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        source = given.get("src") or ""
        if source.startswith("data:image/"):
            data = base64.b64decode(source.partition(",")[2])
            self.found[str(given["data-name"])] = np.asarray(Image.open(io.BytesIO(data)).convert("L"))


@cache
def exhibit(*, before: bool) -> Exhibit:
    head = make.phantom(SEED, plain=True)
    rois = drawn(head, "PTV70", RoiKind.TARGET, 1), drawn(head, "BODY", RoiKind.EXTERNAL, 2)
    done = deface_case(Case(head.volume, None, rois, "CT series 1"), Settings(report_before_images=before), 11, no_stage)
    assert done is not None
    return done.exhibit


def pictures_of(folder: Path, *, before: bool) -> dict[str, NDArray[np.uint8]]:
    result = Result(Verdict.DEFACED, None, (), {})
    files = write_report(result, folder=folder, stem="x", settings=Settings(), exhibit=exhibit(before=before))
    pictures = Images(files[1].read_text(encoding="utf-8")).found
    return {**pictures, "thumbnail": np.asarray(Image.open(files[2]).convert("L"))}


@cache
def original() -> NDArray[np.float64]:
    """What the recogniser makes of the original in every view, (views, 128)."""
    head = make.phantom(SEED, plain=True)
    surface = face_surface(head.volume, [head.structures["BODY"]], frame_of(head), -300.0)
    return np.array([face.embedding for _, face in likenesses(surface) if face is not None])


def distance(picture: NDArray[np.uint8]) -> float:
    """The smallest distance of the face in a picture to the original, at three sizes; infinite where no face is seen."""
    image = Image.fromarray(picture)
    found = []
    for scale in (0.5, 1.0, 1.5):
        sized = image.resize((max(round(image.width * scale), 1), max(round(image.height * scale), 1)))
        face = find_face(np.ascontiguousarray(np.asarray(sized)))
        if face is not None:
            found.append(float(np.linalg.norm(original() - face.embedding, axis=1).min()))
    return min(found, default=np.inf)


def nearest_stranger() -> float:
    """How near one stranger in a hundred comes to another head, over all views."""
    heads = [views[np.isfinite(views).all(axis=1)].astype(np.float64) for views in gallery()]
    far = [
        float(np.linalg.norm(mine - view, axis=1).min())
        for n, mine in enumerate(heads)
        for other in heads[:n]
        for view in other
        if len(mine)
    ]
    return float(np.percentile(far, 1))


def test_no_picture_of_a_report_is_nearer_to_the_original_than_strangers_are(tmp_path: Path) -> None:
    pictures = pictures_of(tmp_path, before=False)
    assert len(pictures) == 7 + 6 + 6 + 7 + 1
    assert {name for name in pictures if name.startswith("attack")} == {f"attack-{attack}" for attack in ATTACKED}
    allowed = nearest_stranger()
    near = {name: distance(picture) for name, picture in pictures.items()}
    assert {name: far for name, far in near.items() if far < allowed} == {}


def rebuilt(data: bytes) -> Volume:
    """The interactive view's scan as whoever unpacks the page gets it, LPS."""
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(data))
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    affine[:, [0, 2]] = affine[:, [2, 0]]
    array = np.ascontiguousarray(np.asarray(image.dataobj).T)
    return Volume(Grid((array.shape[0], array.shape[1], array.shape[2]), affine), array)


def test_the_interactive_views_scan_is_no_nearer_to_the_original_than_strangers_are() -> None:
    scene = exhibit(before=False).scene
    assert scene is not None
    scan = rebuilt(scene.scan)
    everything = Mask(scan.grid, np.ones(scan.grid.shape, np.bool_), "all")
    surface = face_surface(scan, [everything], frame_of(make.phantom(SEED, plain=True)), -300.0)
    looks = [face for _, face in likenesses(surface) if face is not None]
    far = [float(np.linalg.norm(original() - face.embedding, axis=1).min()) for face in looks]
    assert all(one >= nearest_stranger() for one in far), far


def test_the_look_at_the_interactive_view_would_see_the_original() -> None:
    head = make.phantom(SEED, plain=True)
    nothing = np.zeros(head.volume.grid.shape, np.bool_)
    nothing[-1, -1, -1] = True
    shown = Shown(head.volume, Mask(head.volume.grid, nothing, "change"), (), frame_of(head))
    scan = rebuilt(scene_of(shown).scan)
    everything = Mask(scan.grid, np.ones(scan.grid.shape, np.bool_), "all")
    surface = face_surface(scan, [everything], frame_of(head), -300.0)
    looks = [face for _, face in likenesses(surface) if face is not None]
    assert min(float(np.linalg.norm(original() - face.embedding, axis=1).min()) for face in looks) < nearest_stranger()


def test_the_look_itself_would_see_the_original(tmp_path: Path) -> None:
    pictures = pictures_of(tmp_path, before=True)
    near = {name: distance(picture) for name, picture in pictures.items()}
    assert near["before+0"] < 0.8 * nearest_stranger()
    assert {name for name, far in near.items() if far < nearest_stranger()} <= {n for n in pictures if n.startswith("before")}
    assert "thumbnail" in near


def test_the_look_at_an_attacks_picture_would_see_the_original() -> None:
    head = make.phantom(SEED, plain=True)
    body = head.structures["BODY"]
    known = likenesses(face_surface(head.volume, [body], frame_of(head), -300.0))
    tried = {one.attack: one.grey for one in try_attacks(head.volume, [body], frame_of(head), known)}
    assert distance(tried["smoothing"]) < nearest_stranger()
