"""The file format of patches: a safetensors file whose metadata is one sealed, validated header.

Everything read here may come from a stranger: sizes are bounded, names are checked, every value is held
against its hash.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import safetensors
import safetensors.torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError
from torch import Tensor

from razor_cli.errors import PatchError
from razor_cli.weights.checkpoint import dtype_name, tensor_hash
from razor_cli.weights.files import MAX_HEADER_BYTES, is_finite

FORMAT_VERSION = 1
# One key only: safetensors writes several in no fixed order, and the same edit must give the same bytes.
METADATA_KEY = "razor_patch"
ADAPTERS_KEY = "razor"  # of what is stored beside weights
MAX_SETTINGS_BYTES = 64 * 2**10
MAX_NAME_LENGTH = 512


def name_problem(name: str) -> str | None:
    """Return why `name` cannot be the name of a tensor in a patch, or None.

    Names are never used as paths here, but other programs unpack tensors to files by name.
    """
    if not name or len(name) > MAX_NAME_LENGTH:
        return f"must have 1 to {MAX_NAME_LENGTH} characters"
    if any(unicodedata.category(c)[0] == "C" for c in name):
        return "holds a control character"
    if "/" in name or "\\" in name or ".." in name or name.startswith((".", "~")):
        return "reads as a path"
    return None


def _tensor_name(name: str) -> str:
    if problem := name_problem(name):
        raise ValueError(f"tensor name {name!r} {problem}")
    return name


def _printable(text: str) -> str:
    # Joiners (Cf) belong to names in many scripts; controls and changes of direction would let a file write
    # on the terminal.
    if any(
        unicodedata.category(c) in {"Cc", "Cs"} or "\u202a" <= c <= "\u202e" or "\u2066" <= c <= "\u2069"
        for c in text
    ):
        raise ValueError("holds a control character")
    return text


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=1000), AfterValidator(_printable)]
TensorName = Annotated[str, AfterValidator(_tensor_name)]
_FIRM = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class TensorEntry(BaseModel):
    """What the header says of one changed tensor; the hashes are `checkpoint.tensor_hash`."""

    model_config = _FIRM
    dtype: Text
    shape: tuple[Annotated[int, Field(ge=0)], ...]
    base_sha256: Sha256
    new_sha256: Sha256


class PatchHeader(BaseModel):
    """What a patch says of itself. No times and no paths: the same edit gives the same bytes."""

    model_config = _FIRM
    format_version: Literal[1] = 1
    kind: Literal["patch", "undo"] = "patch"
    created_by: Text  # this package and its version
    versions: dict[Text, Text]  # of the libraries that computed the values
    method: Text
    settings: dict[Text, JsonValue]
    target_sha256: Sha256 | None  # `target_hash` of the concept
    target: Text | None  # the concept's name, only by choice
    base_hash: Sha256  # `checkpoint.state_hash` of all tensors before
    new_hash: Sha256  # and after
    tensors: dict[TensorName, TensorEntry]

    def canonical(self) -> str:
        """Return the header as JSON in its one form: sorted keys, no spaces, ASCII."""
        return json.dumps(
            self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False
        )

    def turned_round(self) -> PatchHeader:
        """Return the header of the undo file: from the new values back to the base."""
        back = {
            name: entry.model_copy(update={"base_sha256": entry.new_sha256, "new_sha256": entry.base_sha256})
            for name, entry in self.tensors.items()
        }
        return self.model_copy(
            update={"kind": "undo", "base_hash": self.new_hash, "new_hash": self.base_hash, "tensors": back}
        )


def first_problem(error: Exception) -> str:
    """Return the first thing pydantic has against a header, without the value itself (it may be a name that
    stays hidden).
    """
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])!r}: {first['msg']}"


class _AnyVersion(BaseModel):
    format_version: int


class _AnySealed(BaseModel):
    header: _AnyVersion


class _Sealed(BaseModel):
    model_config = _FIRM
    sha256: Sha256  # of the header's canonical form
    header: PatchHeader


def target_hash(name: str) -> str:
    """Return the SHA-256 of a concept's name (Unicode NFC); short or well-known names can be found from it by
    trying.
    """
    return hashlib.sha256(unicodedata.normalize("NFC", name).encode()).hexdigest()


def pack(header: PatchHeader, values: Mapping[str, Tensor]) -> bytes:
    """Return the bytes of a patch file; raises PatchError where the header is too large to be read again."""
    canonical = header.canonical()
    if len(json.dumps(header.settings)) > MAX_SETTINGS_BYTES or len(canonical) > MAX_HEADER_BYTES // 4:
        raise PatchError(
            "the patch's header is too large",
            allowed=f"{MAX_SETTINGS_BYTES} bytes of settings",
            fix="record fewer settings",
        )
    sealed = json.dumps(
        {"sha256": _sha256(canonical), "header": json.loads(canonical)}, sort_keys=True, separators=(",", ":")
    )
    return safetensors.torch.save(dict(values), metadata={METADATA_KEY: sealed})


def read_patch(path: str | Path) -> tuple[PatchHeader, dict[str, Tensor]]:
    """Return the header and the values of a patch or undo file; raises PatchError with the reason where
    anything is amiss.
    """
    path = Path(path)
    _check_frame(path)
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            header = _read_header(path, opened.metadata() or {})
            values = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a mapping)
    except (safetensors.SafetensorError, OSError, UnicodeError) as error:
        raise PatchError(
            f"{path} is damaged or cut short", found=error, fix="fetch or compute the patch again"
        ) from error
    _check_values(path, header, values)
    return header, values


def _check_frame(path: Path) -> None:
    """Look at the first bytes alone, so that no other kind of file and no giant header is ever parsed."""
    if not path.is_file():
        raise PatchError(
            f"no patch file at {path}",
            fix="give the patch.safetensors of a run's folder, which `razor show ID` names at its end",
        )
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(9)
    if start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[8:] != b"{"):
        raise PatchError(
            f"{path} is not a safetensors file: it is a pickle or zip archive, which is never opened",
            allowed=".safetensors",
        )
    if len(start) < 9:
        raise PatchError(f"{path} is cut short", found=f"{size} bytes")
    length = int.from_bytes(start[:8], "little")
    if start[8:] != b"{":
        raise PatchError(f"{path} is damaged or not a safetensors file", allowed=".safetensors")
    if length > MAX_HEADER_BYTES:
        raise PatchError(
            f"the header of {path} is too large", allowed=f"{MAX_HEADER_BYTES} bytes", found=f"{length} bytes"
        )
    if length > size - 8:
        raise PatchError(f"{path} is cut short", found=f"a header of {length} bytes in a file of {size}")


def _read_header(path: Path, found: Mapping[str, str]) -> PatchHeader:
    if ADAPTERS_KEY in found:
        raise PatchError(
            f"{path} is an adapter, which lies beside the weights and changes none of them",
            fix="load it where pictures are drawn: docs/drawn-methods.md, or a LoRA's way into the library",
        )
    if METADATA_KEY not in found:
        raise PatchError(
            f"{path} is not a patch: it has no {METADATA_KEY} header",
            fix="weights go to --base, a patch to the first argument",
        )
    text = found[METADATA_KEY]
    try:
        version = _AnySealed.model_validate_json(text).header.format_version
        if version != FORMAT_VERSION:
            raise PatchError(
                f"{path} has an unknown format version",
                allowed=FORMAT_VERSION,
                found=version,
                fix="use the razor-cli that wrote it, or a newer one",
            )
        sealed = _Sealed.model_validate_json(text)
        canonical = sealed.header.canonical()
    except (ValidationError, ValueError) as error:
        raise PatchError(f"the header of {path} is not valid", found=first_problem(error)) from error
    except RecursionError as error:
        raise PatchError(f"the header of {path} is not valid", found="nested too deeply") from error
    if _sha256(canonical) != sealed.sha256:
        raise PatchError(f"the header of {path} does not match its own hash: it is damaged or was changed")
    return sealed.header


def _check_values(path: Path, header: PatchHeader, values: Mapping[str, Tensor]) -> None:
    if strays := sorted(header.tensors.keys() ^ values.keys()):
        where = "header" if strays[0] in header.tensors else "file"
        raise PatchError(
            f"header and contents of {path} name different tensors",
            found=f"{strays[0]!r} only in the {where}",
        )
    for name, entry in header.tensors.items():
        stored, said = _form(values[name]), f"{entry.dtype} {list(entry.shape)}"
        if stored != said:
            raise PatchError(
                f"tensor {name} in {path} has another dtype or shape than its header says",
                allowed=said,
                found=stored,
            )
        if tensor_hash(values[name]) != entry.new_sha256:
            raise PatchError(
                f"the values of {name} in {path} do not match their hash: the file is damaged",
                fix="fetch or compute the patch again",
            )
        if not is_finite(values[name]):
            raise PatchError(
                f"tensor {name} in {path} holds values that are not finite",
                fix="fetch or compute the patch again",
            )


def _form(tensor: Tensor) -> str:
    return f"{dtype_name(tensor)} {list(tensor.shape)}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
