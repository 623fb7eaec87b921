"""Which pages of a checkpoint stay in memory."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterable
from contextlib import suppress

from torch import Tensor

PAGE_OUT = 21  # MADV_PAGEOUT of Linux 5.4 and later


def page_out(tensors: Iterable[Tensor]) -> None:
    """Let the pages of tensors that were read from a mapped file go, where the system can: they come back
    from the file when they are looked at. A model that was filled from them needs no second copy.

    No value changes: pages that are no file's stay as they are.
    """
    storages = {s.data_ptr(): s for s in (t.untyped_storage() for t in tensors if t.is_cpu)}
    with suppress(OSError, AttributeError, TypeError):
        advise = ctypes.CDLL(None, use_errno=True).madvise
        advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        for place, storage in storages.items():
            start = -(-place // mmap.PAGESIZE) * mmap.PAGESIZE
            stop = (place + storage.nbytes()) // mmap.PAGESIZE * mmap.PAGESIZE
            if stop > start:
                advise(start, stop - start, PAGE_OUT)
