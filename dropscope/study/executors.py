"""Run chunks here, in processes of our own, or through whatever executor a user brings."""

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context
from typing import Any

from dropscope.study.chunk import run_chunk

__all__ = ["finished"]


def finished(
    todo: Sequence[Any],
    workers: int,
    executor: Executor | None,
    on_epoch: Callable[[int, int, float], None],
    task: Callable[..., list[dict[str, Any]]] = run_chunk,
) -> Iterator[list[dict[str, Any]]]:
    """Yield the records of each chunk as it finishes.

    Args:
        todo: the chunks, or whatever the task runs.
        workers: number of processes; 1 runs in this one.
        executor: used instead of processes of our own.
        on_epoch: called after every epoch of a chunk that runs in this process.
        task: what is run on each of them; a function that can be pickled.

    Yields:
        The records of one chunk.
    """
    if executor is None and workers == 1:
        for chunk in todo:
            yield task(chunk, on_epoch)
        return
    with _owned(workers) if executor is None else nullcontext(executor) as pool:
        futures = [pool.submit(task, chunk) for chunk in todo]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


@contextmanager
def _owned(workers: int) -> Iterator[Executor]:
    # Never fork: a forked child hangs in torch's thread pool. Ctrl-C reaches the whole terminal group; the parent
    # alone answers it, or every worker would print a traceback.
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    )
    try:
        yield pool
    except BaseException:
        # What is in flight is lost anyway: do not wait for it (Python 3.14 has `terminate_workers` for this).
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
