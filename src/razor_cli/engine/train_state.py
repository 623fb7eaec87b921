"""What a training borrows from the model and gives back, and its state on disk from epoch to epoch."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from razor_cli.atomic import staged
from razor_cli.contract.components import parameters_named, swapped
from razor_cli.contract.cost import Cost
from razor_cli.contract.edit import Event
from razor_cli.contract.family import Family, Named
from razor_cli.engine.cache import content_key
from razor_cli.engine.checked import read_checked, write_checked
from razor_cli.engine.choices import DecayOn, Optimizer
from razor_cli.engine.lab import Lab, unedited
from razor_cli.engine.train_keep import Choice

if TYPE_CHECKING:
    from razor_cli.engine.train_settings import Optimised

COUNTED = (
    "gradient_seconds",
    "search_seconds",
    "forwards",
    "backwards",
    "evaluations",
)  # goes on counting after a kill


@dataclass(kw_only=True)
class Progress:
    """Where a training is: epochs done, whether it ended early, last validation metrics, log and notes."""

    metrics: dict[str, float]
    epoch: int = 0
    ended: bool = False
    log: list[Event] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@contextmanager
def borrowed(family: Family, names: Sequence[str]) -> Iterator[Named]:
    """Lend the live parameters `names` for training; on leaving, everything is as before whatever happened.

    That is: the bits of all parameters, requires_grad, grad, train or eval mode, and the global random state.
    """
    live = dict(family.module.named_parameters())
    flags = {n: (p.requires_grad, p.grad) for n, p in live.items()}
    modes = [(m, m.training) for m in family.module.modules()]
    devices = [torch.cuda.current_device()] if family.device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices), swapped(family, parameters_named(family, names)):
        try:
            family.module.eval()
            for name, parameter in live.items():
                parameter.requires_grad_(name in set(names))
                parameter.grad = None
            yield {n: live[n] for n in names}
        finally:
            for name, parameter in live.items():
                parameter.requires_grad_(flags[name][0])
                parameter.grad = flags[name][1]
            for module, mode in modes:
                module.training = mode


class Fine:
    """What trains: the live parameters themselves, and of coarser ones copies in fp32. A step of the
    published rates is smaller than half of what lies between two numbers of bfloat16, and would be nothing.
    """

    def __init__(self, live: Named) -> None:
        self.params = {n: p.detach().float().requires_grad_() if _coarse(p) else p for n, p in live.items()}
        self._pairs = [(p, self.params[n]) for n, p in live.items() if _coarse(p)]

    def take_gradients(self) -> None:
        """Move what the coarse parameters have as gradients to their copies."""
        for live, fine in self._pairs:
            fine.grad = None if live.grad is None else live.grad.float()
            live.grad = None

    @torch.no_grad()
    def show(self) -> None:
        """Put the copies into the model, in the dtype that it computes in."""
        for live, fine in self._pairs:
            live.copy_(fine)


def _coarse(value: Tensor) -> bool:
    return value.dtype in (torch.float16, torch.bfloat16)


def generator_of(seed: int, number: int) -> torch.Generator:
    """Return the generator of one epoch; it depends on nothing that happened before, so a resumed run draws
    the same.

    torch's CPU generator takes the low 32 bits of a seed only, so the two numbers are mixed by a checksum.
    """
    return torch.Generator().manual_seed(zlib.crc32(f"seed {seed}, epoch {number}".encode()))


def make_optimizer(params: Named, settings: Optimised) -> torch.optim.Optimizer:
    """Return the optimiser over the trained parameters; decay spares vectors and scalars unless
    it is on all.
    """
    decayed = [p for p in params.values() if settings.decay_on is DecayOn.ALL or p.ndim >= 2]
    spared = [p for p in params.values() if not (settings.decay_on is DecayOn.ALL or p.ndim >= 2)]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    if settings.optimizer is Optimizer.SGD:
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)
    return torch.optim.AdamW(
        groups, lr=settings.lr, betas=(settings.betas[0], settings.betas[1]), eps=settings.eps_opt
    )


def rounded(family: Family, values: Mapping[str, Tensor]) -> Named:
    """Return copies of the values as the file would hold them, in the dtype the model computes in."""
    return {n: v.to(family.storage_dtype(n), copy=True).to(v.dtype) for n, v in values.items()}


def state_key(lab: Lab, settings: Optimised) -> str:
    """Return the name of the state on disk: a hash of everything that decides which weights come out."""
    return content_key(
        {
            **unedited(lab.family),
            "code": lab.code,
            "sets": lab.sets.fingerprints(),
            "seed": lab.seed,
            "settings": asdict(settings),
            "method": f"{type(settings).__module__}.{type(settings).__qualname__}",
        }
    )


class Shelf:
    """One file that holds a training after its last whole epoch: tensors, and as JSON in the
    header all else.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self.path = folder / f"{key}.safetensors" if folder else None
        self.damaged = False  # a state was there, and was not what had been written

    def save(
        self, params: Named, optimizer: torch.optim.Optimizer, choice: Choice, progress: Progress, lab: Lab
    ) -> None:
        """Write the state; the file is replaced as a whole."""
        if self.path is None:
            return
        tensors = {f"weight/{n}": p.detach() for n, p in params.items()}
        tensors |= {f"best/{n}": v for n, v in choice.values.items()}
        for name, parameter in params.items():
            for key, value in optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer/{key}/{name}"] = value
        header = {
            "progress": asdict(progress),
            "choice": {k: getattr(choice, k) for k in ("epoch", "badness", "why")},
            "cost": {k: getattr(lab.cost, k) for k in COUNTED},
            "seconds": lab.elapsed(),
        }
        with staged(self.path) as part:
            write_checked(part, tensors, state=json.dumps(header))
            part.replace(self.path)

    def load(
        self, params: Named, optimizer: torch.optim.Optimizer, choice: Choice, lab: Lab
    ) -> Progress | None:
        """Put a saved state into weights, optimiser, choice and cost and return how far it got; None if there
        is none.

        A damaged file is removed, and training starts over.
        """
        if self.path is None or not self.path.is_file():
            return None
        try:
            tensors, texts = read_checked(self.path)
            header = json.loads(texts["state"])
        except (SafetensorError, OSError, ValueError, KeyError, TypeError):
            self.damaged = True
            self.clear()
            return None
        self._put(tensors, params, optimizer)
        choice.values = {n.removeprefix("best/"): t for n, t in tensors.items() if n.startswith("best/")}
        for name, value in header["choice"].items():
            setattr(choice, name, value)
        _add(lab.cost, header["cost"])
        lab.earlier_seconds += header["seconds"]
        progress: dict[str, Any] = header["progress"]
        return Progress(**{**progress, "log": [Event(**e) for e in progress["log"]]})

    @staticmethod
    def _put(tensors: Mapping[str, Tensor], params: Named, optimizer: torch.optim.Optimizer) -> None:
        with torch.no_grad():
            for name, parameter in params.items():
                parameter.copy_(tensors[f"weight/{name}"])
        for full, value in tensors.items():
            if full.startswith("optimizer/"):
                _, key, name = full.split("/", 2)
                device = "cpu" if key == "step" else params[name].device
                optimizer.state[params[name]][key] = value.to(device)

    def clear(self) -> None:
        """Remove the file."""
        if self.path is not None:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()


def _add(cost: Cost, earlier: Mapping[str, float]) -> None:
    for name, value in earlier.items():
        setattr(cost, name, getattr(cost, name) + value)
