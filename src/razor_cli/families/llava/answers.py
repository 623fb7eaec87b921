"""What one state of a model answered, question by question."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from razor_cli.families.llava.benchmarks.items import Record
from razor_cli.families.llava.fa import Told

OWN, OTHERS, NEAR = "target", "others", "near"  # whose names were asked for
CHOICES, CLAIMS, LOOKS, FACTS = "choices", "claims", "looks", "facts"
GRID = "grid"  # questions about the pictures that are drawn
KEPT = "answers"  # what a cache calls them


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Names that were asked for, by whose they are, and all other questions by what they belong to."""

    told: Mapping[str, tuple[Told, ...]]
    records: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything as a cache keeps it."""
        plain = {
            "told": {k: [asdict(t) for t in v] for k, v in self.told.items()},
            "records": {k: [asdict(r) for r in v] for k, v in self.records.items()},
        }
        return {KEPT: torch.frombuffer(bytearray(json.dumps(plain).encode()), dtype=torch.uint8)}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Answers:
        """Return answers from what a cache kept."""
        plain = json.loads(bytes(tensors[KEPT].numpy()))
        return cls(
            told={k: tuple(Told(**t) for t in v) for k, v in plain["told"].items()},
            records={k: tuple(Record(**r) for r in v) for k, v in plain["records"].items()},
        )
