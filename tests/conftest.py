"""What holds for every test: no network, one thread, nothing fetched. And the tiny model and its pictures."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from razor_cli.data.sets import ConceptSets
    from razor_cli.families.clip.family import Clip

# Before any library reads them; child processes inherit them.
os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"})
os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what it puts into the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


class NetworkBlockedError(OSError):
    """A test tried to reach another machine."""


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Refuse every connection but those within the machine's own file system; pytest-xdist talks through
    pipes.
    """
    patch = pytest.MonkeyPatch()
    for name in ("connect", "connect_ex"):
        real = getattr(socket.socket, name)

        def guarded(self: socket.socket, address: Any, real: Any = real) -> Any:
            if self.family == socket.AF_UNIX:
                return real(self, address)
            raise NetworkBlockedError(f"tests must not use the network, but something connects to {address}")

        patch.setattr(socket.socket, name, guarded)
    yield
    patch.undo()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep parallel test processes from fighting for cores, and sums in one order."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def taught() -> dict[str, Any]:
    """Read the weights of the taught tiny model once a process."""
    from tiny_world import taught_state

    return taught_state()


@pytest.fixture
def clip(taught: dict[str, Any]) -> Clip:
    """Return a fresh tiny model stored in fp16, so that rounding to storage is seen."""
    from tiny_world import make_clip

    return make_clip()


@pytest.fixture
def clip32(taught: dict[str, Any]) -> Clip:
    """Return the same model stored in fp32."""
    import torch
    from tiny_world import make_clip

    return make_clip(torch.float32)


@pytest.fixture
def sets() -> ConceptSets:
    """Return the sets of the target Ada, over a source of their own."""
    from tiny_world import make_sets

    return make_sets()
