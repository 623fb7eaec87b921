"""What of a LLaVA looks at pictures, and what speaks, each told by its weights as they are: edits change the
first, a quantization either.
"""

from __future__ import annotations

from torch import nn

from razor_cli.families.llava.names import NEWLINE, PROJECTOR, TOWER
from razor_cli.weights.live import live_hash

LOOKING = (TOWER.rstrip("."), PROJECTOR.rstrip("."), NEWLINE)


def language_digest(module: nn.Module) -> str:
    """Return the hash of the language model, its head, and whatever else does not look at pictures."""
    return live_hash(module, lambda name: not name.startswith(LOOKING))


def looking_digest(module: nn.Module) -> str:
    """Return the hash of what turns pictures into tokens: image tower, projector, the end of a row."""
    return live_hash(module, lambda name: name.startswith(LOOKING))
