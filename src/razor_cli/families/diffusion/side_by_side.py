"""Batches of pictures drawn side by side, each by one thread.

A small net does not fill two cores with one batch: two batches beside each other take little more time than
one. A large net does, and two of its batches would need twice the memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

SMALL = 20_000_000  # weights of a net that one batch does not fill a processor with

Call = Callable[[Any], Tensor]  # draws one batch with the pipeline that it is given


def beside(pipeline: Any, net: nn.Module, device: str) -> list[Any]:
    """Return as many pipelines as batches may be drawn at once: they share all parts but the scheduler, which
    counts its steps.
    """
    threads = torch.get_num_threads()
    if device != "cpu" or threads == 1 or sum(p.numel() for p in net.parameters()) > SMALL:
        return [pipeline]
    return [pipeline, *(_twin(pipeline) for _ in range(threads - 1))]


def _twin(pipeline: Any) -> Any:
    twin = copy(pipeline)
    twin.scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)
    return twin


def drawn(calls: Iterable[Call], pipelines: Sequence[Any]) -> Iterator[Tensor]:
    """Yield what each call draws, in their order. With one pipeline they run one after the other in this
    thread; with more, each in a thread of its own that computes with one core.
    """
    if len(pipelines) == 1:
        yield from (call(pipelines[0]) for call in calls)
        return
    threads, free, waiting = torch.get_num_threads(), deque(pipelines), iter(calls)
    pending: deque[Future[Tensor]] = deque()

    def one(call: Call) -> Tensor:
        pipeline = free.popleft()
        try:
            return call(pipeline)
        finally:
            free.append(pipeline)

    pool = ThreadPoolExecutor(len(pipelines), initializer=lambda: torch.set_num_threads(1))
    try:
        pending.extend(pool.submit(one, call) for call in islice(waiting, 2 * len(pipelines)))
        while pending:
            yield pending.popleft().result()
            pending.extend(pool.submit(one, call) for call in islice(waiting, 1))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # a thread's number is its own, that of threads to come is shared
