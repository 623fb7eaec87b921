"""A second device that is none: tensors marked as lying on it refuse to meet those of the CPU, as on a GPU.

Everything is still computed on the CPU. Functions called from Python are watched, so that a forgotten
`.to(device)` or `.cpu()` fails as it would there; what happens inside C++ is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from razor_cli.families.clip.family import Clip

NAME = "xpu"
MEETING = {
    "copy_",
    "__setitem__",
    "__set__",
    "view_as",
    "expand_as",
    "reshape_as",
}  # functions that take tensors of both


class OtherDevice(TorchFunctionMode):
    """While it is active, the tensors of `models` lie on the other device, and so does what is computed from
    them.
    """

    def __init__(self, model: Clip) -> None:
        super().__init__()
        self.there = WeakIdKeyDictionary()
        model.device = NAME
        for tensor in (*model.module.parameters(), *model.module.buffers()):
            self.there[tensor] = True

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", str(func))
        given = [t for t in tensors((args, kwargs))]
        far = [t for t in given if t in self.there]
        if func == Tensor.device.__get__:  # type: ignore[attr-defined]
            return torch.device(NAME if far else "cpu")
        if name in ("to", "cpu"):
            return self._moved(func, args, kwargs)
        wanted = kwargs.get("device")
        if wanted is not None:
            kwargs["device"] = "cpu"
        if wanted is None and name not in MEETING:
            self._check(name, args, given, far)
        found = func(*args, **kwargs)
        if str(wanted) == NAME or (wanted is None and far and name not in ("tolist", "item", "numpy")):
            for tensor in tensors(found):
                self.there[tensor] = True
        return found

    def _check(self, name: str, args: Any, given: list[Tensor], far: list[Tensor]) -> None:
        near = [t for t in given if t not in self.there and t.dim()]
        if name == "__getitem__" and args[0] in self.there:  # a GPU's tensor may be indexed from the CPU
            return
        if far and near:
            raise RuntimeError(f"{name}: tensors on two devices, of shapes {[tuple(t.shape) for t in given]}")
        if far and name == "numpy":
            raise TypeError("numpy: the tensor lies on another device")

    def _moved(self, func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
        names = {str(a) for a in (*args[1:], *kwargs.values()) if isinstance(a, str | torch.device)}
        if not names and getattr(func, "__name__", "") == "cpu":
            names = {"cpu"}
        other = [a for a in args[1:] if isinstance(a, Tensor)]
        onto = NAME in names or (not names and (args[0] in self.there or any(t in self.there for t in other)))
        rest = [a for a in args[1:] if not isinstance(a, str | torch.device)]
        found = (
            Tensor.to(args[0], *rest, **{k: v for k, v in kwargs.items() if k != "device"})
            if rest or kwargs
            else args[0]
        )
        if found is args[0] and (args[0] in self.there) != onto:
            found = args[0].view_as(args[0])  # a new object, so that the mark of the old one stays
        if onto:
            self.there[found] = True
        return found


def tensors(value: Any) -> Iterator[Tensor]:
    """Return every tensor in nested containers."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from tensors(inner)
    elif isinstance(value, list | tuple | set):
        for inner in value:
            yield from tensors(inner)
