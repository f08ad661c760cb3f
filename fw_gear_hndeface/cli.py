"""`hndeface`: the same work as the platform's job, without a platform."""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from fw_gear_hndeface import __version__
from fw_gear_hndeface.doors import (
    STOPPED_CODE,
    Stopped,
    exit_code_of,
    frames_of,
    hush,
    keep_memory,
    stem_of,
    stoppable,
    words_for,
    words_of,
)
from fw_gear_hndeface.errors import SettingsError
from fw_gear_hndeface.model import Level, Result
from fw_gear_hndeface.settings import Settings
from fw_gear_hndeface.vocabulary import MODELS, STATES

_EPILOG = "exit codes: 0 verdict, 2 usage or settings, 3 input, 4 landmarks, 5 protection, 6 verification, 7 privacy, 1 other"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code of the process."""
    hush()
    keep_memory()
    debug = False
    try:
        options = _parser().parse_args(arguments)
        debug = any(pair.lower() == "debug=true" for pair in getattr(options, "set", []))
        with stoppable():
            code: int = options.command(options)
    except (KeyboardInterrupt, Stopped) as stop:
        _complain("Stopped; nothing was left half-written.")
        return STOPPED_CODE if isinstance(stop, Stopped) else 130
    except Exception as error:
        _complain(words_for(error))
        if debug:
            _complain(frames_of(error))
        return exit_code_of(error)
    return code


def _run(options: argparse.Namespace) -> int:
    """Deface one study and put the result into a folder."""
    settings = _settings(options)
    from fw_gear_hndeface.keys import uid_key
    from fw_gear_hndeface.pipeline import deface, publish

    inputs = [Path(name) for name in options.inputs]
    output: Path = options.output
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--output: the folder cannot be made ({error.strerror}).") from error
    key = uid_key()
    with tempfile.TemporaryDirectory(prefix="hndeface-") as work, _progress(options.quiet) as on_progress:
        staged = deface(inputs, Path(work), stem_of(inputs[0].name), settings, key=key, on_progress=on_progress)
        written = publish(staged, output)
    _tell(staged.result, output, any(path.name.endswith(".zip") for path in written))
    return staged.exit_code


def _settings(options: argparse.Namespace) -> Settings:
    values: dict[str, Any] = {}
    for pair in options.set:
        name, equals, value = pair.partition("=")
        if not equals:
            raise SettingsError(f"--set: got '{pair}', expected key=value.")
        values[name.strip().replace("-", "_")] = value.strip()
    if options.method is not None:
        values["method"] = options.method
    return Settings.from_mapping(values)


def _tell(result: Result, output: Path, image: bool) -> None:
    """Verdict, what a person should know, and where to look. Names of input files may hold a patient's name: never printed."""
    _say(f"{result.verdict.value}: {words_of(result.verdict, result.findings)}")
    for finding in result.findings:
        if finding.level is not Level.INFO:
            _say(f"{finding.level.value} {finding.code}: {finding.message}")
    _say(f"Look at {output}: *_hndeface.{'dicom.zip, .' if image else ''}qa.html, .qa.json")


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """A progress listener: a bar on a terminal, nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield lambda _stage, _fraction: None
        return
    from tqdm import tqdm

    with tqdm(total=1.0, bar_format="{desc:<12} |{bar}| {elapsed}", leave=False, file=sys.stderr) as bar:

        def listen(stage: str, fraction: float) -> None:
            bar.set_description_str(stage, refresh=False)
            bar.n = max(bar.n, min(fraction, 1.0))
            bar.refresh()

        yield listen


def _demo(options: argparse.Namespace) -> int:
    """Deface a synthetic study as a platform job."""
    from fw_gear_hndeface.demo import run_demo

    return run_demo(options.output, _say)


def _methods(options: argparse.Namespace) -> int:
    """List the methods of changing a face."""
    from fw_gear_hndeface.methods import REGISTRY

    methods = REGISTRY.values()
    if options.json:
        told = ("name", "removes", "leaks", "reference", "licence", "needs")
        rows = [{**{key: getattr(one, key) for key in told}, "missing": one.missing(), "models": MODELS} for one in methods]
        _say(json.dumps(rows, indent=2))
        return 0
    for one in methods:
        lacking = one.missing()
        _say(f"{one.name}{f' (not available: {lacking})' if lacking else ''}")
        _say(f"  changes  {one.removes}")
        _say(f"  leaves   {one.leaks}")
        _say(f"  source   {one.reference}")
        _say(f"  licence  {one.licence}")
        if one.needs:
            _say(f"  needs    {one.needs}")
    _say(f"models: {MODELS}")
    return 0


def _audit(options: argparse.Namespace) -> int:
    """Say whether a study is safe to share."""
    from fw_gear_hndeface.evaluate.commands import audit

    return audit(options.inputs, options.original, options.output, say=_say)


def _report(options: argparse.Namespace) -> int:
    """Make the page of a record again."""
    from fw_gear_hndeface.report.rebuild import rebuild

    page = rebuild(options.record)
    _say(f"The page was made again: look at {page.parent}.")
    return 0


def _compare(options: argparse.Namespace) -> int:
    """Compare methods over a cohort."""
    from fw_gear_hndeface.evaluate.commands import compare, cores
    from fw_gear_hndeface.methods import REGISTRY

    names = options.methods.split(",") if options.methods else [name for name, method in REGISTRY.items() if not method.needs]
    return compare(options.studies, names, options.output, workers=options.workers or cores(), say=_say)


def _batch(options: argparse.Namespace) -> int:
    """Deface every study of a folder."""
    settings = _settings(options)
    from fw_gear_hndeface.batch.drive import STDIN, Job, run_batch
    from fw_gear_hndeface.keys import uid_key

    job = Job(
        source=options.source,
        dest=options.output,
        settings=settings,
        key=uid_key(),
        listed=sys.stdin if options.source == STDIN else (),
        scheduler=options.scheduler,
        workers=options.workers,
        memory_mb=options.memory,
        timeout_s=options.timeout,
        only=tuple(options.only),
        since=_since(options.since),
        crosswalk=options.crosswalk,
        dry_run=options.dry_run,
        quiet=options.quiet,
    )
    return run_batch(job, _say)


def _since(text: str | None) -> float | None:
    try:
        return None if text is None else datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise SettingsError("--since: expected a date such as 2026-01-31 or 2026-01-31T14:00.") from error


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are `SettingsError`s: one sentence, exit code 2, and no word that may be a file's name."""

    def error(self, message: str) -> NoReturn:
        told = re.sub(r"(unrecognized arguments|invalid choice|ambiguous option): .*", r"\1", message)
        raise SettingsError(f"{told[:1].upper()}{told[1:]}. See: {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="hndeface", description="Deface head-and-neck CT, and nothing but the face.", epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="deface one study", description="Deface one study.", epilog=_EPILOG)
    run.add_argument("inputs", nargs="+", metavar="INPUT", help="zip, tar, folder or single files; several make one study")
    run.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the defaced study and its report"
    )
    run.add_argument("-m", "--method", metavar="M", help="how the face is changed; see `hndeface methods`")
    run.add_argument("-s", "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting; may be given again")
    run.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    run.set_defaults(command=_run)

    demo = commands.add_parser(
        "demo", help="deface a synthetic study", description="Deface a synthetic study as a platform job."
    )
    demo.add_argument(
        "-o", "--output", type=Path, default=Path("demo"), metavar="DIR", help="folder for the demo (default: demo)"
    )
    demo.set_defaults(command=_demo)

    _add_batch(commands)
    _add_evaluation(commands)

    methods = commands.add_parser("methods", help="list the methods", description="List the methods of changing a face.")
    methods.add_argument("--json", action="store_true", help="for programs")
    methods.set_defaults(command=_methods)
    return parser


def _add_batch(commands: argparse._SubParsersAction[Any]) -> None:
    """The command for many studies."""
    text = "Deface every study of a folder, each once; stop it and start it again as you like."
    batch = commands.add_parser(
        "batch",
        help="deface every study of a folder",
        description=text,
        epilog="exit codes: 0 every study has a verdict other than refused, 1 one failed (start again), 3 one cannot be read, "
        "4 to 7 one was refused",
    )
    batch.add_argument("source", metavar="SOURCE", help="folder of archives and DICOM files, or - for a list on stdin")
    batch.add_argument("-o", "--output", type=Path, required=True, metavar="DEST", help="one folder per study, ledger, tables")
    batch.add_argument("-m", "--method", metavar="M", help="how the face is changed; see `hndeface methods`")
    batch.add_argument("-s", "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting; may be given again")
    batch.add_argument("--scheduler", metavar="ADDRESS", help="of dask workers elsewhere (default: workers of this machine)")
    batch.add_argument("-j", "--workers", type=_at_least_one, metavar="N", help="studies at a time (default: by cores, memory)")
    batch.add_argument("--memory", type=_at_least_one, metavar="MB", help="most memory for one study (default: 4096)")
    batch.add_argument("--timeout", type=_at_least_one, default=1800, metavar="S", help="most seconds for one study (1800)")
    batch.add_argument("--only", action="append", default=[], choices=STATES, metavar="END", help=f"{', '.join(STATES)}")
    batch.add_argument("--since", metavar="DATE", help="only studies with a file changed at or after it")
    batch.add_argument("--crosswalk", type=Path, metavar="FILE", help="write names and input paths (identifies patients)")
    batch.add_argument("--dry-run", action="store_true", help="say what would be done, write nothing")
    batch.add_argument("-q", "--quiet", action="store_true", help="no progress")
    batch.set_defaults(command=_batch)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("expected a whole number from 1")
    return int(text)


def _add_evaluation(commands: argparse._SubParsersAction[Any]) -> None:
    """The commands that judge a result rather than make one."""
    audit = commands.add_parser(
        "audit", help="is a study safe to share?", description="Look for the face in a study.", epilog="0 safe, 7 unsafe"
    )
    audit.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="zip, tar, folder or files of one study")
    audit.add_argument(
        "--original", action="append", type=Path, default=[], metavar="INPUT", help="the study as it was; may be given again"
    )
    audit.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder for audit.json and audit.png")
    audit.set_defaults(command=_audit)

    report = commands.add_parser(
        "report",
        help="make a report's page again",
        description="Make the page of a .qa.json again; pictures come from the old page.",
    )
    report.add_argument("record", type=Path, metavar="RESULT.qa.json", help="the record of a run, beside its page")
    report.set_defaults(command=_report)

    compare = commands.add_parser("compare", help="compare methods over a cohort", description="Compare methods over a cohort.")
    compare.add_argument("studies", nargs="+", type=Path, metavar="STUDY", help="zips or folders; one folder holds one cohort")
    compare.add_argument("-m", "--methods", metavar="A,B", help="methods to compare (default: all); drown:air names a fill")
    compare.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="tables, chart and records")
    compare.add_argument("-j", "--workers", type=int, metavar="N", help="studies at a time (default: one per core)")
    compare.set_defaults(command=_compare)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _complain(text: str) -> None:
    sys.stderr.write(f"hndeface: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
