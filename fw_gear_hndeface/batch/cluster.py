"""Workers: a cluster of this machine's own processes, or whatever a given scheduler has. The only file that imports dask."""

from __future__ import annotations

import logging
import tempfile
import uuid
from asyncio import CancelledError
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dask
from dask.system import CPU_COUNT
from distributed import Client, Future, KilledWorker, LocalCluster, wait
from distributed.system import MEMORY_LIMIT

from fw_gear_hndeface.batch.ledger import Entry
from fw_gear_hndeface.batch.work import MB, Task, work_off
from fw_gear_hndeface.errors import HndefaceError, SettingsError
from fw_gear_hndeface.vocabulary import FAILED

#: What one study may take unless the user says otherwise, MB; the largest we met took less than half of it.
MEMORY_MB = 4_096
#: Part of the machine's memory that workers share.
SHARE = 0.9
#: How often the worker of a study may be lost before the study counts as failed.
LOST_WORKERS = 2
#: Seconds in which a scheduler must answer.
ANSWER_S = 30
#: Seconds without any news after which we look whether workers are missing.
LOOK_S = 10
#: How often the workers of this machine are started anew when one of them is lost in starting.
STARTS = 3
_NO_SCHEDULER = "The scheduler is gone. Start again: what is done stays done."
#: The memory limit of a study comes first; the nanny's, this much higher, catches what goes around it.
_NANNY_MEMORY = 1.15

_CONFIG: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": LOST_WORKERS,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.profile.enabled": False,
}


@dataclass(frozen=True)
class Size:
    """How many workers a cluster of this machine has, and how much memory each study may take."""

    workers: int
    memory_mb: int


def size_of(workers: int | None, memory_mb: int | None, *, cores: int = CPU_COUNT, machine: float = MEMORY_LIMIT) -> Size:
    """As many workers as there are cores and memory for, unless the user says otherwise.

    Parameters
    ----------
    cores, machine : of this machine or of the container we are in; memory in bytes
    """
    room = SHARE * machine / MB
    each = memory_mb or min(MEMORY_MB, int(room / max(workers or 1, 1)))
    return Size(workers or max(1, min(cores, int(room / each))), each)


@dataclass(frozen=True)
class Crew:
    """Connected workers; `dashboard` is a link or ''. `cluster` is None where the workers are somebody else's."""

    client: Client
    dashboard: str
    cluster: LocalCluster | None = None

    @property
    def is_local(self) -> bool:
        """Whether the workers are this machine's."""
        return self.cluster is not None

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Entry]:
        """The end of every study, as they come. A study whose workers are lost again and again has failed.

        Raises
        ------
        HndefaceError
            The scheduler is gone.
        """
        waiting, run = iter(tasks), uuid.uuid4().hex[:8]
        told: dict[Future[Any], Task] = {}
        self._fill(told, waiting, run)
        while told:
            try:
                with self.client.as_current():
                    done = wait(list(told), timeout=LOOK_S, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                self._rehire()
                done = set()
            except CancelledError as error:
                raise HndefaceError(_NO_SCHEDULER) from error
            for future in done:
                yield self._outcome(future, told.pop(future))
            self._fill(told, waiting, run)

    def _fill(self, told: dict[Future[Any], Task], waiting: Iterator[Task], run: str) -> None:
        """Keep as many studies under way as there are hands: whatever waits at a worker that is lost is blamed for it, too."""
        hands = sum(self.client.nthreads().values())
        most = max(hands, 1) if self.is_local else 2 * hands + 8
        while len(told) < most:
            task = next(waiting, None)
            if task is None:
                return
            told[self.client.submit(work_off, task, key=f"hndeface-{task.study.stem}-{run}", pure=False)] = task

    def _rehire(self) -> None:
        """A worker that is lost while it starts is given up by dask; asked for the same number again, it starts another."""
        if self.cluster is not None:
            self.cluster.scale(len(self.cluster.worker_spec))

    def _outcome(self, future: Future[Any], task: Task) -> Entry:
        status = future.status
        if status == "finished":
            entry: Entry = future.result()
            return entry
        error = future.exception() if status == "error" else None
        if isinstance(error, KilledWorker):
            text = "Every worker that did it was lost: out of memory, or a crash. Try more --memory."
        elif error is not None:
            text = f"The worker could not be told what to do ({type(error).__name__}). Is the same software on all workers?"
        else:
            raise HndefaceError(_NO_SCHEDULER)
        return Entry(task.study.stem, task.study.quick, task.rules, "", FAILED, 1, text)


@contextmanager
def hire(scheduler: str | None, size: Size) -> Iterator[Crew]:
    """Workers for a batch; those of this machine end with it.

    Raises
    ------
    SettingsError
        No scheduler answers at the given address.
    """
    for name in ("distributed", "asyncio", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # they quote addresses and say of every lost worker what we say, too
    with dask.config.set(_CONFIG):
        if scheduler is not None:
            with _given(scheduler) as client:
                yield Crew(client, client.dashboard_link or "")
            return
        with (
            tempfile.TemporaryDirectory(prefix="hndeface-") as scratch,
            _local(size, scratch) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            yield Crew(client, client.dashboard_link or "", cluster)


def _given(address: str) -> Client:
    try:
        return Client(address, timeout=ANSWER_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        text = f"--scheduler: nothing answers there ({type(error).__name__}). Expected tls://HOST:PORT or tcp://HOST:PORT."
        raise SettingsError(text) from error


def _local(size: Size, scratch: str) -> LocalCluster:
    """One process and one thread per worker, on the loopback only, with keys of its own for TLS."""
    for start in range(1, STARTS + 1):
        try:
            return LocalCluster(
                n_workers=size.workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                security=True,
                protocol="tls",
                dashboard_address="127.0.0.1:0",
                memory_limit=int(size.memory_mb * MB * _NANNY_MEMORY),
                local_directory=scratch,
                silence_logs=logging.CRITICAL,
            )
        except (RuntimeError, OSError) as error:
            if start == STARTS:
                text = f"The workers cannot be started ({type(error).__name__}). Try fewer (-j), and look at the memory."
                raise HndefaceError(text) from error
    raise ValueError("no start was tried")
