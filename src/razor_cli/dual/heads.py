"""Zero-shot heads over prompts: each class is a text, or several, embedded by the weights as they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from razor_cli.dual.encoder import Encoder
from razor_cli.dual.gallery import own_prompt
from razor_cli.dual.samples import Samples
from razor_cli.dual.view import Tower
from razor_cli.engine.probe import rows_fit

# Label space of retain cross-entropy; beyond it, other prompts than class prompts come from the batch.
JOINT_LIMIT = 512


class Head:
    """A zero-shot classifier: each class is one or several templates, embedded with the weights as they are
    at the call.

    With a text tower that does not train, its embeddings are computed once and kept.
    """

    def __init__(self, encoder: Encoder, prompts: Sequence[tuple[str, ...]]) -> None:
        self.encoder, self.counts = encoder, [len(p) for p in prompts]
        self.tokens = encoder.model.tokenize([t for p in prompts for t in p])
        self.fixed = not encoder.settings.train.include(Tower.TEXT)
        self._frozen: Tensor | None = None

    def __len__(self) -> int:
        return len(self.counts)

    def templates(self, steps: int, generator: torch.Generator) -> list[int]:
        """Return the number of a drawn template for each of `steps` steps; nothing is drawn where every class
        has one only.
        """
        most = max(self.counts)
        return torch.randint(most, (steps,), generator=generator).tolist() if most > 1 else [0] * steps

    def features(self, template: int | None = None, rows: Tensor | None = None) -> Tensor:
        """Return class embeddings [k, d]: normalised mean over templates, or one template (taken modulo a
        class's number).

        `rows` takes only some classes, of a head with one template each.
        """
        if template is not None:
            rows = torch.tensor([sum(self.counts[:i]) + template % c for i, c in enumerate(self.counts)])
        if rows is not None:
            return self._encode()[rows] if self.fixed else self.encoder.encode_text(self.tokens[rows])
        every = self._encode()
        if max(self.counts) == 1:
            return every
        return F.normalize(torch.stack([part.mean(dim=0) for part in every.split(self.counts)]), dim=-1)

    def _encode(self) -> Tensor:
        if not self.fixed:
            return self.encoder.encode_text(self.tokens)
        if self._frozen is None:
            with torch.no_grad():
                self._frozen = self.encoder.encode_text(self.tokens)
        return self._frozen

    @torch.no_grad()
    def rows(self) -> Tensor:
        """Return the embedding of every text at the weights as they are now, without gradients and as many at
        once as fit.
        """
        encode = self.encoder.encode_text
        size = rows_fit(self.encoder.model.budget, "texts looked at", encode, self.tokens)
        return torch.cat([encode(part) for part in self.tokens.split(size)])

    def logits(self, images: Tensor, template: int | None = None, rows: Tensor | None = None) -> Tensor:
        """Return scale * <v, T_c> [n, k] for image embeddings [n, d]; differentiable through both towers and
        the scale.
        """
        return self.encoder.scale * images @ self.features(template, rows).T


class JointSpace:
    """Class prompts first, then the own prompts of all other retain concepts, each once.

    A retain picture of another domain than the target's has no class number; here its class is its own
    concept's prompt (its caption, where the caption is all that is known of it), told apart from all other
    concepts of the sets. On class data the space is that of `sets.class_names`. Where captions make it larger
    than JOINT_LIMIT, a batch is told apart from the class prompts and the other prompts of the batch.
    """

    def __init__(self, encoder: Encoder, retain: Samples) -> None:
        self.encoder, self.retain = encoder, retain
        sets = encoder.sets
        self.classes = len(sets.class_names)
        numbers = {sets.prompts[n]: i for i, n in enumerate(sets.class_names)}
        texts = [sets.prompts[n] for n in sets.class_names]
        labels = []
        for picture, label in zip(sets.retain.pictures, retain.labels.tolist(), strict=True):
            by_caption = bool(picture.caption) and picture.concept == picture.caption
            text = picture.concept if by_caption else own_prompt(picture.concept, picture.domain, sets)
            if label < 0 and text not in numbers:
                numbers[text] = len(texts)
                texts.append(text)
            labels.append(label if label >= 0 else numbers[text])
        self.labels = torch.tensor(labels, dtype=torch.long)  # of every retain picture
        self.head = Head(encoder, [(t,) for t in texts])

    def __len__(self) -> int:
        return len(self.head)

    def columns(self, index: Tensor) -> Tensor:
        """Return which classes the retain pictures with rows `index` are told apart from: all, or those of
        class and batch.
        """
        if len(self) <= JOINT_LIMIT:
            return torch.arange(len(self))
        labels = self.labels[index]
        return torch.cat([torch.arange(self.classes), labels[labels >= self.classes].unique()])

    def logits(self, images: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [n, k] of retain pictures with rows `index`, and their labels among the
        columns [n].
        """
        used = self.columns(index)
        places = torch.full((len(self),), -1, dtype=torch.long)
        places[used] = torch.arange(len(used))
        return self.head.logits(images, rows=used), places[self.labels[index]].to(images.device)

    @torch.no_grad()
    def taught(self) -> tuple[Tensor, Tensor]:
        """Return retain image embeddings [n, d] and the scaled class embeddings [k, d] at the weights as they
        are now.
        """
        return self.retain.embedded(), self.encoder.scale * self.head.rows()
