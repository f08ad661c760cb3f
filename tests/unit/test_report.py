"""The report: promised keys, valid JSON, a page that is self-contained and says what a person needs."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html.parser
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from fw_gear_hndeface.model import Finding, Level, Result, Verdict
from fw_gear_hndeface.privacy.attempts import TRIED
from fw_gear_hndeface.report import report_data, schema, write_report
from fw_gear_hndeface.report.data import SECRET, plain
from fw_gear_hndeface.report.exhibit import Exhibit, Picture
from fw_gear_hndeface.report.page import material_of, render_page
from fw_gear_hndeface.report.words import ATTACK_TITLES, STRUCTURE_SOURCES, VERDICT_TEXT, attack_title
from fw_gear_hndeface.settings import Settings

MEASURES: dict[str, Any] = {
    "method": "membrane",
    "landmarks": {"nose_tip": {"lps_mm": [1.25, -94.5, 12.0], "sigma_mm": 2.5, "source": "rendered_face"}},
    "removed_ml": 41.61,
    "added_ml": 7.04,
    "retextured_ml": 12.5,
    "rois": [
        {"name": "Parotid_L", "kind": "organ", "unchanged_percent": 100.0},
        {"name": "PTV <70> & more", "kind": "target", "unchanged_percent": 99.25},
        {"name": "Mandible", "kind": "organ", "unchanged_percent": 99.9},
    ],
    "objects": [{"modality": "CT", "fate": "defaced"}, {"modality": "RTDOSE", "fate": "left out"}],
    "privacy": {"own_distance": 0.71, "rank": 17, "trials": [{"name": "smooth", "face_found": False}]},
    "seconds": {"read": 1.5, "change": 2.25},
    "peak_mb": 812.4,
}
FINDINGS = (
    Finding(Level.INFO, "junk_ignored", "2 files are no DICOM and were left out."),
    Finding(Level.WARNING, "target_in_zone", "PTV meets the face zone: 3.2 mL kept.", "CT series 3"),
)


def result(verdict: Verdict = Verdict.DEFACED, findings: tuple[Finding, ...] = FINDINGS, **measures: Any) -> Result:
    return Result(verdict, None, findings, {**MEASURES, **measures})


def page(of: Result, *pictures: Picture) -> str:
    exhibit = Exhibit(pictures)
    return render_page(report_data(of, Settings(), exhibit), material_of(exhibit))


def refuse_constant(name: str) -> None:
    raise ValueError(name)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_record_follows_the_published_schema(tmp_path: Path, verdict: Verdict) -> None:
    record, _ = write_report(result(verdict), folder=tmp_path, stem="case", settings=Settings())
    data = json.loads(record.read_text(encoding="utf-8"), parse_constant=refuse_constant)
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(data, schema(), cls=jsonschema.Draft202012Validator)
    assert data["verdict"] == verdict.value


def test_the_keys_relied_on_from_outside_hold_what_was_measured(tmp_path: Path) -> None:
    record, _ = write_report(result(), folder=tmp_path, stem="case", settings=Settings(image_type="keep"))
    data = json.loads(record.read_text(encoding="utf-8"))
    assert data["method"] == "membrane"
    assert data["landmarks"]["nose_tip"] == {"lps_mm": [1.25, -94.5, 12.0], "sigma_mm": 2.5, "source": "rendered_face"}
    assert (data["removed_ml"], data["added_ml"], data["peak_mb"]) == (41.61, 7.04, 812.4)
    assert data["rois"][1] == {"name": "PTV <70> & more", "kind": "target", "unchanged_percent": 99.25}
    assert data["findings"][1] == {
        "level": "warning",
        "code": "target_in_zone",
        "message": "PTV meets the face zone: 3.2 mL kept.",
        "where": "CT series 3",
    }
    assert data["objects"][1] == {"modality": "RTDOSE", "fate": "left out"}
    assert data["seconds"] == {"read": 1.5, "change": 2.25}
    assert data["settings"]["image_type"] == "keep"
    assert data["versions"]["numpy"] == np.__version__


def test_a_run_that_measured_nothing_still_has_every_key(tmp_path: Path) -> None:
    empty = Result(Verdict.ALREADY_DEFACED, None, (), {})
    record, shown = write_report(empty, folder=tmp_path, stem="x", settings=Settings())
    data = json.loads(record.read_text(encoding="utf-8"))
    jsonschema.validate(data, schema())
    assert data["method"] is None
    assert data["rois"] == []
    assert "Already defaced" in shown.read_text(encoding="utf-8")


def test_the_schema_refuses_a_record_without_a_promised_key_or_with_an_unknown_verdict() -> None:
    data = report_data(result(), Settings())
    for key in ("verdict", "landmarks", "removed_ml", "rois", "findings", "objects", "privacy", "seconds", "peak_mb"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({name: value for name, value in data.items() if name != key}, schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**data, "verdict": "fine"}, schema())


def test_numbers_that_are_not_finite_become_null_wherever_they_are(tmp_path: Path) -> None:
    odd = result(added_ml=math.nan, privacy={"scores": (np.float32(math.inf), np.float64(0.5)), "deep": {"x": -math.inf}})
    record, _ = write_report(odd, folder=tmp_path, stem="case", settings=Settings())
    text = record.read_text(encoding="utf-8")
    data = json.loads(text, parse_constant=refuse_constant)
    assert data["added_ml"] is None
    assert data["privacy"] == {"scores": [None, 0.5], "deep": {"x": None}}
    assert "NaN" not in text
    assert "Infinity" not in text


def test_arrays_and_numpy_scalars_become_plain_values_and_objects_are_refused() -> None:
    assert plain({1: np.int16(4), "a": np.array([[1, 2]]), "b": (True, None)}) == {"1": 4, "a": [[1, 2]], "b": [True, None]}
    with pytest.raises(TypeError, match="object"):
        plain([object()])


def test_measures_cannot_overwrite_verdict_or_findings() -> None:
    data = report_data(Result(Verdict.REFUSED, None, FINDINGS, {"verdict": "defaced", "findings": []}), Settings())
    assert data["verdict"] == "refused"
    assert len(data["findings"]) == 2


def test_files_are_named_after_the_stem_and_do_not_contain_it(tmp_path: Path) -> None:
    written = write_report(result(), folder=tmp_path, stem="Doe^Jane 1961", settings=Settings())
    assert [path.name for path in written] == ["Doe^Jane 1961_hndeface.qa.json", "Doe^Jane 1961_hndeface.qa.html"]
    assert sorted(tmp_path.iterdir()) == sorted(written)
    for path in written:
        assert "Doe" not in path.read_text(encoding="utf-8")


class Seen(html.parser.HTMLParser):
    """Every tag and every address of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        self.addresses += [address for address in found if not address.startswith("#")]  # those stay in the page


def picture(name: str = "turntable+0", group: str = "turntable", shape: tuple[int, ...] = (4, 5)) -> Picture:
    image = np.arange(math.prod(shape), dtype=np.uint8).reshape(shape)
    return Picture(name, group, f"Caption of {name}", image)


def test_the_page_needs_no_network_and_runs_only_its_own_script() -> None:
    text = page(result(), picture())
    seen = Seen()
    seen.feed(text)
    assert not {"link", "iframe", "object", "embed", "base", "form"} & set(seen.tags)
    assert all(address.startswith("data:image/png;base64,") for address in seen.addresses)
    assert not re.search(r"url\(|@import|https?://", text)
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', text)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["default-src"] == "'none'", "nothing may be fetched that is not named here"
    assert rules["script-src"] == f"'sha256-{digest}' blob:"
    assert rules["img-src"] == "data: blob:"
    assert "connect-src" not in rules


def test_pictures_are_embedded_unchanged_with_their_captions() -> None:
    seen = Seen()
    text = page(result(), picture("turntable+0"), picture("turntable+30", shape=(6, 3)))
    seen.feed(text)
    pictures = [Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) for uri in seen.addresses]
    np.testing.assert_array_equal(np.asarray(pictures[0]), np.arange(20, dtype=np.uint8).reshape(4, 5))
    np.testing.assert_array_equal(np.asarray(pictures[1]), np.arange(18, dtype=np.uint8).reshape(6, 3))
    assert "<figcaption>Caption of turntable+0</figcaption>" in text
    assert 'alt="Head after defacing: Caption of turntable+30"' in text


def test_colour_pictures_keep_their_size_and_their_colours() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    image[:, 40:] = (213, 94, 0)
    seen = Seen()
    seen.feed(page(result(), Picture("axial-low", "slices", "Axial", image)))
    (uri,) = seen.addresses
    assert uri.startswith("data:image/webp;base64,")
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")).astype(int)
    assert back.shape == image.shape
    assert np.abs(back[30, 70] - (213, 94, 0)).max() < 25
    assert back[30, 10].max() < 25


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_headline_says_the_verdict_in_words_and_colour(verdict: Verdict) -> None:
    colour, headline, advice = VERDICT_TEXT[verdict.value]
    text = page(result(verdict))
    assert f'<header class="verdict {colour}">\n<h1>{headline}</h1>\n<p>{advice}</p>' in text


def test_a_written_image_with_a_failed_check_is_not_shown_as_good() -> None:
    text = page(result(findings=(Finding(Level.ERROR, "privacy", "The result can be matched."),)))
    assert '<header class="verdict warn">' in text
    assert "<strong>Why:</strong> The result can be matched." in text
    assert "Do not share it" in text


def numbers_of(text: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)(?: <small>|</dd>)", text))


def test_six_numbers_are_on_the_first_screen() -> None:
    privacy = {"stranger_share": 0.312, "required_share": 0.05}
    assert numbers_of(page(result(privacy=privacy, scan_unchanged_percent=97.702))) == {
        "tissue removed": "41.6",
        "tissue added": "7.0",
        "tissue given new values": "12.5",
        "of the scan unchanged, bit for bit": "97.70",
        "structures untouched": "1 of 3",
        "of pairs of strangers look as alike (5 % asked)": "31",
    }


def test_numbers_that_were_not_measured_are_not_shown() -> None:
    assert numbers_of(page(Result(Verdict.NO_FACE, None, FINDINGS, {}))) == {}
    assert numbers_of(page(result(rois=[], privacy={})))["structures drawn or labelled on this scan"] == "none"


def test_the_skin_and_the_couch_do_not_count_as_structures_to_keep() -> None:
    extra = [
        {"name": "BODY", "kind": "external", "unchanged_percent": 97.0},
        {"name": "Couch", "kind": "support", "unchanged_percent": 9.0},
    ]
    assert "<dd>1 of 3" in page(result(rois=[*MEASURES["rois"], *extra]))


def test_findings_are_sorted_by_weight() -> None:
    text = page(result(findings=(*FINDINGS, Finding(Level.ERROR, "privacy", "Matched."))))
    assert text.index("Matched.") < text.index("PTV meets") < text.index("2 files are no DICOM")


def test_structures_are_sorted_by_worst_and_their_names_are_escaped() -> None:
    text = page(result())
    assert text.index("PTV &lt;70&gt; &amp; more") < text.index("Mandible") < text.index("Parotid_L")
    assert "PTV <70>" not in text
    assert "99.25 %" in text


LABELLED = {"name": "parotid_gland_left", "kind": "organ", "source": "totalsegmentator", "unchanged_percent": 98.5}
SKIN = {"name": "skin", "kind": "other", "source": "given", "unchanged_percent": 60.0}


def test_labelled_structures_stand_among_the_drawn_ones_with_their_source() -> None:
    text = page(result(labelled=[LABELLED, SKIN]))
    order = [text.index(f'<th scope="row">{name}') for name in ("parotid_gland_left", "PTV", "Mandible", "Parotid_L", "skin")]
    assert order == sorted(order), "the most changed first, what is meant to change last"
    assert '<th scope="row">parotid_gland_left</th><td>organ</td><td>TotalSegmentator</td>' in text
    assert "<td>organ</td><td>drawn</td>" in text
    assert "<dd>1 of 4" in text, "labelled structures count, skin does not"
    jsonschema.validate(report_data(result(labelled=[LABELLED, SKIN]), Settings()), schema())


def test_a_dose_is_told_of_the_drawn_structure_alone_where_a_label_has_the_same_name() -> None:
    before = {"d95": 1.0, "mean": 2.0, "max": 3.0}
    dose = {"modality": "RTDOSE", "fate": "carried", "rois": [{"name": "Parotid_L", "before": before, "after": before}]}
    text = page(result(labelled=[{**LABELLED, "name": "Parotid_L"}], objects=[dose]))
    assert text.count("D95 1.00") == 1


ATTACK = {
    "attack": "shrinking", "surface": "not air - 5 mm", "inner": False, "matched": False,
    "detector_score": 0.25, "distance": 0.71, "stranger_share": 0.6,
}  # fmt: skip


def attacked(**changes: Any) -> str:
    privacy = {
        "views": 6,
        "passed": True,
        "gallery": 60,
        "views_with_a_face_after": 0,
        "own_distance": 0.7,
        "stranger_share": 0.6,
        "required_share": 0.05,
    }
    of = result(privacy={**privacy, "attacks": [{**ATTACK, **changes}]})
    jsonschema.validate(report_data(of, Settings()), schema())
    return page(of, picture("attack-shrinking", "attacks"))


def test_every_attack_is_shown_with_its_score() -> None:
    text = attacked()
    assert "detector score 0.25; distance to the original 0.71" in text
    assert "None can be matched to the original." in text
    assert text.index('data-name="attack-shrinking"') > text.index('id="attacks"')
    assert "no face is seen; distance to the original 0.71" in attacked(detector_score=None)
    assert '<p class="score">detector score 0.25</p>' in attacked(distance=None, inner=True)
    assert 'id="attacks"' not in page(result(), picture()), "no heading over nothing"


def test_a_page_without_pictures_does_not_say_that_it_shows_a_head() -> None:
    assert "shows no picture of the head" in page(Result(Verdict.NO_FACE, None, FINDINGS, {}))
    assert "shows the defaced head only" in page(result(), picture())


@pytest.mark.parametrize(("after", "words"), [(None, "it finds none now"), (0.25, "is 0.25 now")])
def test_the_detectors_scores_before_and_after_are_told_in_words(after: float | None, words: str) -> None:
    privacy = {
        "views": 6, "passed": True, "gallery": 60, "views_with_a_face_after": 0, "own_distance": 0.7, "stranger_share": 0.6,
        "required_share": 0.05, "detector_score_before": 0.951, "detector_score_after": after,
    }  # fmt: skip
    text = page(result(privacy=privacy))
    assert f"the detector's best score was 0.95 before and {words}." in text
    assert "detector score before" not in text


def test_an_attack_that_matched_is_told_in_red() -> None:
    text = attacked(matched=True)
    assert "One of them can be matched to the original." in text
    assert "detector score 0.25; matched to the original" in text
    assert "None can be matched" not in text


def test_the_schema_refuses_an_attack_without_its_score() -> None:
    broken = {name: value for name, value in ATTACK.items() if name != "detector_score"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report_data(result(privacy={"attacks": [broken]}), Settings()), schema())


def test_every_attack_and_every_source_of_structures_has_words() -> None:
    assert set(ATTACK_TITLES) == {attack.name for attack in TRIED}
    assert {"drawn", "given", "segmentation", "totalsegmentator", "nnunet"} == set(STRUCTURE_SOURCES)
    assert attack_title("new_attack") == "new attack"


def test_a_structure_nobody_measured_comes_first_and_says_so() -> None:
    text = page(result(rois=[*MEASURES["rois"], {"name": "Chiasm", "kind": "organ", "unchanged_percent": None}]))
    assert text.index("Chiasm") < text.index("PTV &lt;70&gt;")
    assert "not measured" in text


def test_findings_landmarks_objects_settings_and_versions_are_told() -> None:
    text = page(result())
    for words in (
        "PTV meets the face zone: 3.2 mL kept.",
        "CT series 3",
        '<td>seen on pictures of the surface</td><td class="n">2.5</td>',
        '<th scope="row">RTDOSE</th><td>left out: not in the result</td></tr>',
        "name smooth; face found no",
        "max_uncertainty_mm",
        np.__version__,
        "Not a medical device",
    ):
        assert words in text


def test_where_the_old_face_was_is_not_told() -> None:
    assert "94.5" not in page(result()), "landmarks are measures of the old face"


def test_a_refusal_says_why_on_the_first_screen() -> None:
    why = Finding(Level.ERROR, "landmark", "A face is in view but its place is uncertain by 20 mm.", "study")
    text = page(Result(Verdict.REFUSED, None, (*FINDINGS, why), {}))
    assert text.index("uncertain by 20 mm") < text.index("</header>")
    assert "The face could not be placed surely." in text
    none = Finding(Level.INFO, "no_face", "CT series 1: no face was found in 60 slices.", "CT series 1")
    text = page(Result(Verdict.NO_FACE, None, (FINDINGS[0], none), {}))
    assert text.index("no face was found in 60 slices") < text.index("</header>")


def test_warnings_are_named_on_the_first_screen_each_once() -> None:
    warnings = [Finding(Level.WARNING, "left_out", f"PT series {n} was left out.") for n in (4, 5)]
    other = Finding(Level.WARNING, "frame_mismatch", "RTSTRUCT series 1 protects nothing.")
    text = page(result(findings=(*warnings, other)))
    first = text[: text.index("</header>")]
    assert ": something was left out; a structure set belongs to another scan." in first
    assert "Please note" in first
    assert "Please note" not in page(result(findings=()))
    refused = page(Result(Verdict.REFUSED, None, tuple(warnings), {}))
    assert "Please note" not in refused, "everything is left out of a refused study"
    assert "PT series 4 was left out." in refused


def test_the_seed_is_not_told() -> None:
    told = report_data(result(), Settings(seed=424242))["settings"]
    assert told["seed"] == "given, not told"
    assert report_data(result(), Settings())["settings"]["seed"] == "drawn for this run"
    assert "424242" not in page(result()) + json.dumps(report_data(result(), Settings(seed=424242)))


@pytest.mark.parametrize("path", ["/data/DOE_JANE/models/faces", "C:\\DOE_JANE\\models\\faces", "faces"])
def test_of_a_path_only_the_last_part_is_told(path: str) -> None:
    told = report_data(result(), Settings(nnunet_model=path))["settings"]
    assert told["nnunet_model"] == "faces"
    assert told["fill"] == "auto"


def test_every_setting_that_sounds_secret_is_kept_back() -> None:
    sounds = re.compile(r"seed|key|secret|password|token")
    assert {spec.name for spec in dataclasses.fields(Settings) if sounds.search(spec.name)} == set(SECRET)


def test_the_original_is_announced_by_banner_and_file_name(tmp_path: Path) -> None:
    exhibit = Exhibit((picture(), picture("before+0", "before")))
    _, written, thumbnail = write_report(result(), folder=tmp_path, stem="case", settings=Settings(), exhibit=exhibit)
    assert written.name == "case_hndeface.WITH-BEFORE-IMAGES.qa.html"
    text = written.read_text(encoding="utf-8")
    assert text.index("shows the face as it was before") < text.index("<h1>")
    assert "Caption of before+0" in text
    assert thumbnail.name == "case_hndeface.qa.png"
    assert "as it was before" not in page(result(), picture())


def test_the_thumbnail_shows_the_defaced_head_only(tmp_path: Path) -> None:
    grey = {name: np.full((200, 150), value, np.uint8) for name, value in (("turntable-30", 50), ("turntable+0", 100))}
    original = Picture("before+0", "before", "x", np.full((200, 150), 255, np.uint8))
    shown = (*(Picture(name, "turntable", name, image) for name, image in grey.items()), original)
    written = write_report(result(), folder=tmp_path, stem="a", settings=Settings(), exhibit=Exhibit(shown))
    with Image.open(written[2]) as image:
        assert image.size == (240, 160)
        assert sorted(np.unique(np.asarray(image))) == [50, 100]


def test_doses_stand_beside_their_structures_and_differences_show() -> None:
    before = {"d95": 56.3769, "mean": 59.9972, "max": 71.641}
    region = {"name": "Parotid_L", "number": 2, "kind": "organ", "dose": 1, "before": before}
    dose = {"modality": "RTDOSE", "label": "RTDOSE series 4", "fate": "carried", "zeroed_voxels": 173, "filled_voxels": 0}
    text = page(result(objects=[{**dose, "rois": [{**region, "after": {**before, "mean": 59.9}}]}]))
    assert "D95 56.38, mean 60.00 → 59.90, max 71.64" in text
    assert "<td>dose voxels set to 0 in new air: 173</td>" in text
    assert "<td>in the result, brought to the new skin</td>" in text
    assert "In numbers" in text
    assert "In numbers" not in page(result()), "no empty column"
    assert "before → after" not in page(result())


def test_a_page_about_several_scans_says_whose_pictures_it_shows() -> None:
    two = [{"modality": "CT", "fate": "defaced"}, {"modality": "CT", "fate": "defaced"}]
    assert "of the first defaced CT" in page(result(objects=two))
    assert "of the first defaced CT" not in page(result())


def test_the_page_is_ready_for_phones_dark_rooms_and_paper() -> None:
    text = page(result())
    for words in ('name="viewport"', "prefers-color-scheme: dark", "@media print", '<html lang="en">', "<main>"):
        assert words in text
