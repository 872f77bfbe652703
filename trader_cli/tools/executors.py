"""Where the runs of a sweep are carried out: in this process, in local processes, or on a Dask cluster that is there.

What runs is a pure function that can be called again, so that its results are the same wherever it ran, and a worker
that died takes no other call with it.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from threading import Thread
from typing import Any, TypeVar, cast

from trader_cli.core.errors import ConfigError, UpstreamError, UsageError

DASK = "dask://"
PATIENCE = "10s"
"""How long a cluster's scheduler may take to answer."""

_PLACE = re.compile(r"(\[[0-9a-fA-F:.]+\]|[0-9A-Za-z._-]+):[0-9]{1,5}")

T = TypeVar("T")
Calls = Sequence[tuple[Any, ...]]
Results = Iterator[tuple[int, T | Exception]]
"""The number of each call with what it returned, or with what it or its worker died of; as they come."""


def cluster_address(words: str) -> str:
    """HOST:PORT of `dask://HOST:PORT`. Raises UsageError."""
    found = words.removeprefix(DASK)
    if not words.startswith(DASK) or not _PLACE.fullmatch(found):
        raise UsageError(f'--on needs {DASK}HOST:PORT, was "{words[:60]}"', f"Try: --on {DASK}127.0.0.1:8786")
    return found


def results(function: Callable[..., T], calls: Calls, jobs: int = 1, cluster: str | None = None) -> Results[T]:
    """Every call's result: from `jobs` local processes, or from the cluster at HOST:PORT.

    Raises ConfigError without the extra that a cluster needs, UpstreamError for one that does not answer.
    """
    if cluster is not None:
        with _cluster(cluster) as executor:
            yield from _submitted(executor, function, dict(enumerate(calls)))
    elif jobs == 1:
        yield from ((number, _tried(function, call)) for number, call in enumerate(calls))
    else:
        yield from _in_processes(function, calls, jobs)


def _tried(function: Callable[..., T], call: tuple[Any, ...]) -> T | Exception:
    try:
        return function(*call)
    except Exception as error:  # noqa: BLE001 - one call of many: it is told, and the others go on
        return error


def _in_processes(function: Callable[..., T], calls: Calls, jobs: int) -> Results[T]:
    """A worker that dies breaks its whole pool: what is left is called again, and then each call in a pool of its own.

    So only a call that kills its worker when it is alone has died of that.
    """
    left = dict(enumerate(calls))
    for _ in range(2):
        with _processes(jobs) as pool:
            for number, came in _submitted(pool, function, left):
                if not isinstance(came, BrokenProcessPool):
                    del left[number]
                    yield number, came
        if not left:
            return
    for number, call in left.items():
        with _processes(1) as pool:
            yield from _submitted(pool, function, {number: call})


def _submitted(pool: Executor, function: Callable[..., T], calls: dict[int, tuple[Any, ...]]) -> Results[T]:
    waiting: dict[Future[T], int] = {}
    for number, call in calls.items():
        try:
            waiting[pool.submit(function, *call)] = number
        except BrokenProcessPool as error:
            yield number, error
    for future in as_completed(waiting):
        try:
            yield waiting[future], future.result()
        except Exception as error:  # noqa: BLE001 - as above
            yield waiting[future], error


@contextmanager
def _processes(jobs: int) -> Iterator[Executor]:
    """Local processes that end with this block, whatever ends it: what they did not finish can be done again."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    pool.shutdown()


def _begin_worker() -> None:
    """In a worker: Ctrl-C is for the process that shows the sweep, and a worker does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def leave_with_it() -> None:
            parent.join()
            os._exit(1)

        Thread(target=leave_with_it, daemon=True).start()


@contextmanager
def _cluster(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError(
            "a Dask cluster needs the extra `scale`, which is not installed", "pip install 'trader-cli[scale]'"
        ) from error
    try:
        client: Any = Client(f"tcp://{address}", timeout=PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise UpstreamError(
            f'no Dask scheduler answers at "{address}": {error}', "Start one: dask scheduler"
        ) from error
    try:
        if not client.scheduler_info()["workers"]:
            raise UpstreamError(f'the Dask scheduler at "{address}" has no worker', f"Start one: dask worker {address}")
        yield cast(Executor, client.get_executor(pure=False, retries=0))
    finally:
        client.close()
