"""What one state of the model did on each picture: all that its scores are made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from razor_cli.dual.measures import (
    Features,
    dual_wins,
    forget_labels,
    forget_prompt,
    keep_wins,
    retain_prompts,
    retrieval_hits,
    similarity,
    top_k_hits,
    traced_hits,
)
from razor_cli.families.clip.predictions import Predictions, predictions


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What one state of a model did on each picture: all that its scores, and those of later states, are made
    of.
    """

    class_names: tuple[str, ...]
    m1: dict[str, Tensor]  # q_retain reading -> [Nf] wins of q_forget
    forget_top: dict[int, Tensor]  # k -> [Nf]; only k < C
    forget_cosine: dict[str, Tensor]  # prompt | native -> [Nf]
    retain_cosine: Tensor  # [Nr] with the own caption
    m4: dict[str, Tensor]  # q_retain reading -> [Nr] wins of q_retain
    utility: dict[str, Tensor]  # retrieval | dual_acc -> [Nr]
    others: Tensor  # [No] top-1 hit of each retain picture of the target's domain
    others_concept: Tensor  # [No] index into class_names
    suites: dict[str, Tensor]  # suite -> [n] top-1 hits
    member_cosine: Tensor | None  # [Nm]
    forgotten: int = 1  # how many of the classes go
    forget_concept: Tensor | None = None  # [Nf] index into class_names
    head: Predictions | None = None  # cosines with all class prompts; None without the model's scale
    traced: dict[str, dict[str, Tensor]] = field(
        default_factory=dict
    )  # in | ood -> df_fine | df_coarse | dr_fine | dr_coarse

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of forget, retain and suite pictures: two states compare only when these agree."""
        suites = (len(hits) for hits in self.suites.values())
        traced = (len(hits) for kinds in self.traced.values() for hits in kinds.values())
        return (len(self.forget_cosine["native"]), len(self.retain_cosine), *suites, *traced)


def reference(features: Features) -> Reference:
    """Measure one state of a model, picture by picture, in float64 on the CPU. Same features, same bits.

    Raises RunError for embeddings that are not finite.
    """
    f = features.exact()
    target, gone, labels = forget_prompt(f), f.class_prompts[: f.forgotten], forget_labels(f)
    own_domain = f.retain_concepts >= 0
    if bool((own_domain & (f.retain_concepts < f.forgotten)).any()):
        raise ValueError("retain pictures must not show the target (concept 0) nor another that goes")
    m4 = {name: keep_wins(f.retain_images, prompt, gone) for name, prompt in retain_prompts(f).items()}
    m4["per_image_class"] = keep_wins(f.retain_images, f.retain_own_prompt, gone)
    seen = f.member_images is not None and f.member_captions is not None and len(f.member_images) > 0
    return Reference(
        class_names=f.class_names,
        m1={name: dual_wins(f.forget_images, target, prompt) for name, prompt in retain_prompts(f).items()},
        forget_top={
            k: top_k_hits(f.forget_images, f.class_prompts, labels, k)
            for k in (1, 5)
            if k < len(f.class_names)
        },
        forget_cosine={
            "prompt": similarity(f.forget_images, target),
            "native": similarity(f.forget_images, f.forget_captions),
        },
        retain_cosine=similarity(f.retain_images, f.retain_captions),
        m4=m4,
        utility={
            "retrieval": retrieval_hits(f.retain_images, f.retain_captions, f.retain_caption_ids),
            "dual_acc": m4["generic"],
        },
        others=top_k_hits(f.retain_images[own_domain], f.class_prompts, f.retain_concepts[own_domain], 1),
        others_concept=f.retain_concepts[own_domain],
        suites={name: top_k_hits(s.images, s.prompts, s.labels, 1) for name, s in f.suites.items()},
        member_cosine=similarity(f.member_images, f.member_captions) if seen else None,  # type: ignore[arg-type]
        forgotten=f.forgotten,
        forget_concept=labels,
        head=predictions(f),
        traced={name: traced_hits(t) for name, t in f.traced.items()},
    )
