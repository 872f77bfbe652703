"""Where the runs of a sweep are carried out: in this process, in local processes, or on a Dask cluster that is there.

All of them are a `concurrent.futures.Executor`; what runs is a pure function, so that its results are the same.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

from trader_cli.core.errors import ConfigError, UpstreamError

DASK = "dask://"
PATIENCE = "10s"
"""How long a cluster's scheduler may take to answer."""


class _Here(Executor):
    """Runs each call where it stands, when it is submitted."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The call, done; what it raised is in the future."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - as every executor does
            future.set_exception(error)
        return future


@contextmanager
def executor(jobs: int, on: str | None = None) -> Iterator[Executor]:
    """An executor of `jobs` local processes, or of the cluster at `on` (`dask://HOST:PORT`).

    Raises ConfigError without the extra that it needs, UpstreamError for a cluster that does not answer.
    """
    if on is not None:
        with _cluster(on.removeprefix(DASK)) as found:
            yield found
    elif jobs == 1:
        yield _Here()
    else:
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            try:
                yield pool
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


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
