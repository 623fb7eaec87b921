"""A pipeline of Stable Diffusion that was opened: its parts, components, contexts and latents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from razor_cli.contract.budget import Budget
from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, parameters, swapped
from razor_cli.contract.family import Companions
from razor_cli.contract.quantizable import Quantizable
from razor_cli.data.sets import Pairs
from razor_cli.dual.components import TowerLayout, siblings_of
from razor_cli.dual.crops import training_crops
from razor_cli.engine.cache import TensorCache
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.components import TOWERS, every_tensor, text_components, text_layouts
from razor_cli.families.diffusion.context import Context
from razor_cli.families.diffusion.denoiser import CORES, Denoiser
from razor_cli.families.diffusion.drawing import Contexts, PictureStore
from razor_cli.families.diffusion.files import T5
from razor_cli.families.diffusion.groups import group
from razor_cli.families.diffusion.kinds import Draws
from razor_cli.families.diffusion.oracle import Against
from razor_cli.families.diffusion.paired import Paired
from razor_cli.families.diffusion.preparation import preparation_of
from razor_cli.families.diffusion.quantizable import quantizable_of
from razor_cli.families.diffusion.stored import StoredTensors

KEPT_PARTS = 4  # whose latents are held


@dataclass(kw_only=True)
class OpenedPipeline:
    """One loaded pipeline. `stored` has the tensors of its files by the names of the module, read when asked
    for; `digest` is the hash of all its files; `paired` are the CLIPs of its text encoders, by their names.
    """

    label: str
    stand_in: bool
    denoiser: Denoiser
    stored: Mapping[str, Tensor]
    digest: str
    paired: Mapping[str, Paired] = field(default_factory=dict)
    draws: Draws = field(default_factory=Draws)
    against: Callable[[str], Against] = lambda target: Against()  # for a target, what it is held against
    budget: Budget | None = None
    device: str = field(init=False)
    layouts: tuple[TowerLayout, ...] = field(init=False)
    contexts: Contexts = field(init=False)
    _unedited: dict[tuple[str, ...], Context] = field(default_factory=dict, init=False, repr=False)
    _latents: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    _preparation: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.device = self.denoiser.device
        self.layouts = text_layouts(self.denoiser.encoders)
        self.contexts = Contexts(self.denoiser)

    @property
    def module(self) -> nn.Module:
        """Return the module; its parts are called as in model_index.json."""
        return self.denoiser.module

    def groups(self, name: str) -> list[str]:
        """Return the parameters of a group by its name. ConfigError lists those there are."""
        return group(self.module, self.denoiser.kind, CORES[self.denoiser.kind], name)

    def components(
        self, granularity: Granularity, towers: Towers, include_projections: bool = False
    ) -> list[Component]:
        """Return disjoint components of the text encoders, in architecture order."""
        return text_components(self.layouts, parameters(self), granularity, towers, include_projections)

    def tensors(self) -> list[Component]:
        """Return one component for each parameter of the text encoders and the net, named like it."""
        return every_tensor(self.layouts, self.module)

    def siblings(self, component: Component) -> list[Component]:
        """Return the tensors of a block that belong together with one, itself included."""
        return siblings_of(component, self.components(Granularity.TENSOR, Towers.BOTH), self.layouts)

    def dual(self, tower: str = "") -> Paired:
        """Return a text encoder with the image tower that belongs to it, the first one for no name: text,
        text_2, or the encoder's name in the pipeline.
        """
        known = {TOWERS[name]: name for name in self.paired}
        name = known.get(tower, tower) or next(iter(self.paired), "")
        if name not in self.paired:
            raise ConfigError(
                f"{self.label} has no CLIP beside its {tower or 'text encoder'}",
                allowed=", ".join(known) or "a model with model.companion",
                found=tower or "none",
                fix="give the CLIP that the text encoder comes from: model.companion=DIR",
            )
        return self.paired[name]

    def within(self, budget: Budget) -> None:
        """Keep to a budget from now on."""
        self.budget = budget
        for pair in self.paired.values():
            pair.budget = budget

    @contextmanager
    def at_base(self) -> Iterator[None]:
        """Hold the text encoders as their files have them, whatever an edit has put there; T5, which none
        changes, is not read again.
        """
        parts = tuple(f"{name}." for name in self.denoiser.encoders if name != T5)
        names = [n for n, _ in self.module.named_parameters() if n.startswith(parts)]
        with swapped(self, {n: self.stored[n] for n in names}):
            yield

    @torch.no_grad()
    def unedited(self, prompts: Sequence[str]) -> Context:
        """Return the contexts of prompts under the unedited weights. They are encoded together, as a loss
        encodes them, so that weights that did not move differ by nothing; and once.
        """
        words = tuple(prompts)
        if words not in self._unedited:
            with self.at_base():
                self._unedited[words] = self.denoiser.encode(words)
        return self._unedited[words]

    @torch.no_grad()
    def unedited_pooled(self, prompts: Sequence[str]) -> Tensor:
        """Return one vector for each prompt under the unedited weights."""
        with self.at_base():
            return self.denoiser.pooled(prompts)

    def latents_of(self, part: Pairs) -> Tensor:
        """Return the latents of the pictures of a part, encoded once: no edit changes the VAE."""
        print_ = part.fingerprint()
        if print_ not in self._latents:
            rows = []
            for start in range(0, len(part), self.draws.batch):
                images = part.load(start, start + self.draws.batch)
                if part.crops is not None:
                    images = training_crops(self.denoiser, images, part.crops, start)
                rows.append(self.denoiser.latents(self.denoiser.preprocess(images)).cpu())
            while len(self._latents) >= KEPT_PARTS:
                del self._latents[next(iter(self._latents))]
            self._latents[print_] = torch.cat(rows)
        return self._latents[print_]

    def pictures(self, cache: TensorCache | None) -> PictureStore:
        """Return where pictures are drawn and kept; without a cache they are drawn each time."""
        return PictureStore(self.denoiser, self.contexts, cache, self.preparation())

    def quantizable(self) -> Quantizable:
        """Return what quantization covers."""
        return quantizable_of(self.module)

    def storage_dtype(self, name: str) -> torch.dtype:
        """Return the dtype a parameter has in its file (fp32 for weights that were never stored)."""
        if name not in self.stored:
            return torch.float32
        return self.stored.dtype(name) if isinstance(self.stored, StoredTensors) else self.stored[name].dtype

    def weights_hash(self) -> str:
        """Return the hash of all files of the pipeline that decide pictures."""
        return self.digest

    def preparation(self) -> str:
        """Return the hash of what tokenizers, scheduler and nets do beside their weights, and of what the
        CLIPs beside the encoders are.
        """
        if self._preparation is None:
            self._preparation = preparation_of(self.denoiser, self.paired)
        return self._preparation

    def companions(self, target: str) -> Companions:
        """Return the pipeline trained without the target that settings name. Raises WeightsError for one that
        does not fit.
        """
        return self.against(target).read(self, self.denoiser.kind)
