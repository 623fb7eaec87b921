"""SalUn in the view of two towers: text encoders learn a wrong caption for pictures of the target, through
the weights that matter most to its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from razor_cli.contract.family import DENOISER, DUAL
from razor_cli.errors import ConfigError
from razor_cli.methods.diffusion.choices import StandIn
from razor_cli.methods.diffusion.relearn_settings import Relearned

if TYPE_CHECKING:
    from razor_cli.contract.edit import Edit
    from razor_cli.contract.family import Family
    from razor_cli.engine.lab import Lab
    from razor_cli.families.diffusion.family import Diffusion

ENCODERS = "text_encoder"


@dataclass(frozen=True, kw_only=True)
class TextSalun(Relearned):
    """Hyper-parameters of SalUn on text encoders; each knob is explained in conf/method/salun/text.yaml."""

    needs: ClassVar[frozenset[str]] = frozenset({DUAL, DENOISER})

    name: str = "salun_text"  # label in tables and folder of the runs
    group: str = ENCODERS
    stands_in: StandIn = StandIn.RETAIN
    mask_fraction: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges({"mask_fraction": (0, 1)})
        if self.group != ENCODERS:
            raise ConfigError(
                "method.group: two towers are the text encoders and what is paired with them",
                allowed=ENCODERS,
                found=self.group,
                fix="method=salun, which trains the net",
            )

    def trained(self, family: Family) -> list[str]:
        """Return attention and MLP of the text encoders that have a paired image tower."""
        own = cast("Diffusion", family)
        return [n for n in own.groups(self.group) if n.partition(".")[0] in own.paired]

    def edit(self, lab: Lab) -> Edit:
        """Mask all but the most salient weights, then teach those that are left."""
        from razor_cli.dual.mask import told, top_fraction
        from razor_cli.engine.train import train
        from razor_cli.methods.diffusion.captioned import CaptionLessons
        from razor_cli.methods.diffusion.salun import Masked

        with lab.timed():
            lessons = CaptionLessons(lab, self)
            found = lessons.summed_gradient(self.trained(lab.family))
            masks = top_fraction({n: g.abs() for n, g in found.items()}, self.mask_fraction)
            edit = train(lab, self, Masked(lessons, masks))
        edit.notes.append(told(masks))
        return edit
