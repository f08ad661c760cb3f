"""The platform's door: a job's folder in, images, reports, `.metadata.json` and an exit code out. No site, no key, no network.

Everything is made in work/ and moved to output/ once, after the platform's own schema has accepted the metadata: files that a
failed job leaves in output/ may be uploaded.
"""

from __future__ import annotations

import copy
import logging
import math
import os
import re
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fw_gear_hndeface.dicom.split import modality_of
from fw_gear_hndeface.doors import (
    STOPPED_CODE,
    Stopped,
    exit_code_of,
    frames_of,
    hush,
    keep_memory,
    passed,
    stem_of,
    stoppable,
    words_for,
)
from fw_gear_hndeface.errors import HndefaceError, InputError, SettingsError
from fw_gear_hndeface.keys import uid_key
from fw_gear_hndeface.model import Finding, Level, Result, Verdict
from fw_gear_hndeface.pipeline import Staged, deface, publish
from fw_gear_hndeface.report import write_report
from fw_gear_hndeface.settings import Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from flywheel_gear_toolkit import GearToolkitContext
    from flywheel_gear_toolkit.utils.metadata import Metadata

log = logging.getLogger(__name__)

#: Inputs of the manifest, in the order they are read.
INPUT_NAMES = ("dicom", "rtstruct", "rtdose", "companions", "labels")

_REASONS = {2: "settings", 3: "input", 4: "landmarks", 5: "protection", 6: "verification", 7: "privacy"}
#: Failures of the result rather than of the input: what `on_qc_fail` is about.
_QC_CODES = (4, 5, 6, 7)
_STATES = ("PASS", "NA", "FAIL")
_QC_KEY = re.compile(r"(?!(?:name|state|file_|base)$)[a-z0-9_]+")
_LEVELS = {Level.INFO: logging.INFO, Level.WARNING: logging.WARNING, Level.ERROR: logging.ERROR}

Checks = Mapping[str, tuple[str, Mapping[str, Any]]]


class GearMetadata(Metadata):  # type: ignore[misc]
    """The toolkit's metadata without its last look at output/, which stumbles over file names that hold `info` or `object`."""

    def update_zip_member_count(self, *_: Any, **__: Any) -> None:
        """Nothing: the count is set with the other fields of each file."""


def main(root: Path, manifest: Path | None = None) -> int:
    """Run the job laid out in a folder and return the exit code of the process.

    Parameters
    ----------
    root : folder with config.json and input/; output/ and work/ are made there.
    manifest : used when the folder holds no manifest.json of its own.
    """
    hush()
    keep_memory()
    root = root.resolve()
    own = root / "manifest.json"
    try:
        with stoppable(), _context(root, own if own.exists() or manifest is None else manifest) as context:
            return _job(context)
    except Stopped:
        log.error("Stopped from outside; nothing was written.")
        return STOPPED_CODE
    except Exception as error:
        log.error(words_for(error))
        return exit_code_of(error)


def _context(root: Path, manifest: Path) -> Any:
    config = root / "config.json"
    if not config.exists() or not manifest.exists():
        missing = "config.json" if manifest.exists() else "manifest.json"
        raise InputError(f"The job's folder holds no {missing}. Give the folder that the platform laid out.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context = GearToolkitContext(root, manifest, config, log_metadata=False, clean_on_error=True)
    context.metadata = GearMetadata(context)
    # With `job` present and without an id, the toolkit does not log in to a site to look for one.
    context.config_json.setdefault("job", {"id": ""})
    context.init_logging("info")  # the toolkit's debug mode writes the log into output/
    logging.getLogger("flywheel_gear_toolkit").setLevel(logging.CRITICAL)  # it logs metadata values, headers among them
    return context


def _job(context: Any) -> int:
    """One job from its settings to its outputs; whatever fails, the metadata say why and output/ holds no image."""
    try:
        settings = _settings(context)
        source = _source(context)
    except HndefaceError as error:
        log.error(words_for(error))
        return exit_code_of(error)
    try:
        with _scratch(context.work_dir):
            staged = _staged(context, source, settings)
        _record_all(context, source, staged, settings)
        publish(staged, context.output_dir)
    except Exception as error:
        return _fail(context, source, error, settings)
    return _farewell(staged, settings)


def _settings(context: Any) -> Settings:
    """Manifest defaults under the job's own options: a local run has only the options somebody typed."""
    defaults = {name: option["default"] for name, option in context.manifest.get("config", {}).items() if "default" in option}
    given = {name: value for name, value in context.config.items() if value is not None}
    context.config_json["config"] = {**defaults, **given}
    settings = Settings.from_mapping(context.config)
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", settings.tag):
        raise SettingsError("Setting tag: expected 1 to 64 letters, digits, '-', '_' or '.'.")
    if settings.debug:
        logging.getLogger("fw_gear_hndeface").setLevel(logging.DEBUG)
        for handler in logging.getLogger().handlers:
            handler.setLevel(logging.DEBUG)
    return settings


def _source(context: Any) -> dict[str, Any]:
    """The entry of the required input, a copy: the toolkit writes into it."""
    source = copy.deepcopy(context.get_input("dicom"))
    if not source:
        raise InputError("config.json names no input 'dicom'. Choose the archive with the CT series as that input.")
    container = context.destination["type"]
    source.setdefault("hierarchy", {"type": "acquisition" if container == "analysis" else container})
    entry: dict[str, Any] = source.setdefault("object", {})
    entry["info"] = entry.get("info") or {}
    return dict(source)


def _paths(context: Any) -> list[Path]:
    """The input files that are there; platforms mount them where config.json says, local runs beside it."""
    paths = []
    for name in INPUT_NAMES:
        entry = context.get_input(name)
        if not entry:
            continue
        location = entry["location"]
        places = (Path(location["path"]), context._path / "input" / name / location["name"])
        found = next((place for place in places if place.exists()), None)
        if found is None:
            raise InputError(f"Input {name}: the file named in config.json is not there.")
        paths.append(found)
    return paths


@contextmanager
def _scratch(folder: Path) -> Iterator[None]:
    """Temporary files of this process and its children lie in `folder`: a read-only root has no other place for them."""
    before, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        del os.environ["TMPDIR"]
        if variable is not None:
            os.environ["TMPDIR"] = variable


def _staged(context: Any, source: dict[str, Any], settings: Settings) -> Staged:
    stem = stem_of(source["location"]["name"])
    if settings.tag in (source["object"].get("tags") or []):
        message = f"The input carries the tag '{settings.tag}' of a defaced file."
        result = Result(Verdict.ALREADY_DEFACED, None, (Finding(Level.INFO, "already_defaced", message),), {})
        files = write_report(result, folder=context.work_dir, stem=stem, settings=settings)
        return Staged(result, files, 0)
    return deface(_paths(context), context.work_dir, stem, settings, key=uid_key(), on_progress=_reporter())


def _reporter() -> Callable[[str, float], None]:
    """A progress listener that logs each stage once."""
    seen: set[str] = set()

    def report(stage: str, _fraction: float) -> None:
        if stage not in seen:
            seen.add(stage)
            log.info(stage)

    return report


def _record_all(context: Any, source: dict[str, Any], staged: Staged, settings: Settings) -> None:
    """Metadata of every file, held against the platform's schema while output/ is still empty."""
    state = passed(staged.result.verdict, staged.result.findings)
    checks = _checks(staged, state)
    mark = f"{settings.tag}-{state.upper()}"
    images = [path.name for path in staged.files if path.name.endswith(".zip")]
    for path in staged.files:
        if path.name in images:
            with zipfile.ZipFile(path) as archive:
                count = len(archive.infolist())
            usual = str(source["object"].get("modality") or "CT")
            modality = modality_of(path.name) or usual
            classification = source["object"].get("classification") if modality == usual else None
            fields = {
                "type": "dicom",
                "modality": modality,
                "classification": classification or {},
                "zip_member_count": count,
            }
            _record(context, _output_entry(context, path.name), checks, {settings.tag, mark}, fields)
        else:
            _record(context, _output_entry(context, path.name), {}, {mark}, {"type": "qa"})
    link = {"output": images[0]} if images else {}
    own = {"verdict": (state, {**checks["verdict"][1], **link})}
    _record(context, source, own, _kept_tags(source, settings.tag) | {mark}, {})
    _validate(context)


def _checks(staged: Staged, state: str) -> Checks:
    """QC entries of a run: the verdict in numbers, and privacy where it was measured."""
    result = staged.result
    facts = {name: result.measures.get(name) for name in ("method", "removed_ml", "added_ml")}
    verdict = {"verdict": result.verdict.value, **_plain(facts)}
    if state != "pass":
        verdict |= {"reason": _REASONS.get(staged.exit_code, result.verdict.value), "message": _message(result)}
    if staged.exit_code:
        verdict["code"] = staged.exit_code
    checks = {"verdict": (state, verdict)}
    if privacy := _plain(result.measures.get("privacy") or {}):
        checks["privacy"] = (state if staged.exit_code in (0, 7) else "na", privacy)
    return checks


def _message(result: Result) -> str:
    """The finding that explains the verdict: the worst one, the one named after the verdict first."""
    order = {Level.ERROR: 1, Level.WARNING: 2, Level.INFO: 3}
    ranked = sorted(result.findings, key=lambda f: 0 if f.code == result.verdict else order[f.level])
    return ranked[0].message if ranked else ""


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The finite scalars of a mapping under keys that the toolkit takes."""
    plain = {}
    for name, value in values.items():
        scalar = isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))
        if scalar and _QC_KEY.fullmatch(name):
            plain[name] = round(value, 4) if isinstance(value, float) else value
    return plain


def _output_entry(context: Any, name: str) -> dict[str, Any]:
    """An output as the toolkit wants it: in dictionary form, nothing about it is looked up on a site."""
    return {"object": {"info": {}}, "hierarchy": {"type": context.destination["type"]}, "location": {"name": name}}


def _kept_tags(source: dict[str, Any], tag: str) -> set[str]:
    """The input's tags without the marks of an earlier run."""
    return set(source["object"].get("tags") or []) - {f"{tag}-{state}" for state in _STATES}


def _record(context: Any, entry: dict[str, Any], checks: Checks, tags: set[str], fields: Mapping[str, Any]) -> None:
    """Everything about one file, once: a second call for the same file would lose the tags of the first."""
    context.metadata._has_job_info = False  # otherwise all files share one set of checks
    for name, (state, data) in checks.items():
        context.metadata.add_qc_result(entry, name, state, **data)
    context.metadata.update_file_metadata(entry, tags=sorted(tags), **fields)


def _validate(context: Any) -> None:
    try:
        context.metadata.write(context.work_dir, True, False)
    except SystemExit as error:
        raise HndefaceError("The platform's schema refused the metadata of this job; no image was written.") from error


def _fail(context: Any, source: dict[str, Any], error: Exception, settings: Settings) -> int:
    """Empty output/ and work/, say why in the log and on the input file, and return the error's exit code."""
    code = exit_code_of(error)
    log.error(words_for(error))
    log.debug("Passed through:\n%s", frames_of(error))
    _empty(context.output_dir)
    _empty(context.work_dir)  # a full disk has room for the reason then
    context.metadata = GearMetadata(context)
    if isinstance(error, SettingsError):  # says nothing about the file
        return code
    source = {
        **source,
        "object": {**source["object"], "info": copy.deepcopy(context.get_input("dicom")["object"].get("info") or {})},
    }
    reason = {"verdict": "failed", "reason": _REASONS.get(code, "unexpected"), "message": words_for(error), "code": code}
    _record(context, source, {"verdict": ("fail", reason)}, _kept_tags(source, settings.tag) | {f"{settings.tag}-FAIL"}, {})
    try:
        _validate(context)
    except HndefaceError:
        context.metadata = GearMetadata(context)  # the input's own metadata do not fit the schema: say nothing about them
    except OSError:
        log.debug("work/ takes no file; the reason goes to output/ unchecked.")
    return code


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _farewell(staged: Staged, settings: Settings) -> int:
    for finding in staged.result.findings:
        log.log(_LEVELS[finding.level], "%s: %s", finding.code, finding.message)
    log.info("Verdict: %s", staged.result.verdict.value)
    if staged.exit_code in _QC_CODES and settings.on_qc_fail == "tag-only":
        return 0
    return staged.exit_code
