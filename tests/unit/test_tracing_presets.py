"""The published settings of Tan & Gong's methods."""

from __future__ import annotations

import torch
from presets import preset
from tiny_world import make_clip, make_sets, run

from razor_cli.contract.components import parameters


def test_paper_presets_hold_the_published_settings() -> None:
    table = {  # Table 9: lr, alpha_c, alpha_f
        "ga_tan_paper": (8e-8, 0, 0),
        "salun_tan_paper": (2e-7, 0, 0),
        "gdiff_paper": (8e-8, 0, 0),
        "ga_kl_paper": (8e-8, 5, 20),
        "relabel_paper": (1e-7, 0, 0),
        "me_gd_paper": (1e-7, 0, 0),
        "task_vector_paper": (1e-7, 0, 0),
        "npo_kl_paper": (1e-7, 5, 20),
        "nhl_kl_paper": (1e-7, 10, 20),
    }
    for name, (lr, coarse, fine) in table.items():
        method = preset(name)
        assert (method.lr, method.alpha_coarse, method.alpha_fine) == (lr, coarse, fine)
        assert (method.epochs, method.batch, method.weight_decay, method.eps_opt) == (8, 32, 1e-5, 1e-6)
        assert method.kl_reduction == "numel" and method.kl_fine_mask == "own_label" and method.exclude == []
        assert (method.betas, method.schedule, method.optimizer, method.decay_on) == (
            [0.9, 0.999],
            "cosine_epochs",
            "adamw",
            "all",
        )
        high = name in {"relabel_paper", "task_vector_paper", "salun_tan_paper"}
        assert method.keep == ("highest_label_accuracy" if high else "lowest_forget_accuracy")
    assert (
        preset("npo_kl_paper").beta == 0.5
        and preset("nhl_kl_paper").margin == 2
        and preset("task_vector_paper").alpha == 1.5
    )
    assert preset("salun_tan_paper").mask_fraction == 0.1


def test_cars_presets_hold_what_the_script_for_cars_sets() -> None:
    table = {  # lr, alpha_c, alpha_f
        "ga_tan_cars": (8e-8, 0, 0),
        "gdiff_cars": (8e-8, 0, 0),
        "ga_kl_cars": (8e-8, 40, 20),
        "relabel_cars": (2e-7, 0, 0),
        "me_gd_cars": (2e-7, 0, 0),
        "task_vector_cars": (1e-7, 0, 0),
        "salun_tan_cars": (2e-7, 0, 0),
        "npo_kl_cars": (1e-7, 20, 5),
        "nhl_kl_cars": (1e-7, 20, 20),
    }
    for name, (lr, coarse, fine) in table.items():
        method = preset(name)
        assert (method.lr, method.alpha_coarse, method.alpha_fine, method.epochs, method.batch) == (
            lr,
            coarse,
            fine,
            6,
            16,
        )
    assert preset("npo_kl_cars").beta == 0.4 and preset("nhl_kl_cars").margin == 2


def test_all_parameters_train_in_the_paper_and_the_temperature_stays_in_ours() -> None:
    changes = {"lr": 1e-3, "epochs": 1}
    ours, papers = (
        set(run(preset(n, **changes), make_clip(torch.float32), make_sets()).values)
        for n in ("npo_kl", "npo_kl_paper")
    )
    assert papers - ours == {"logit_scale"} and papers == set(parameters(make_clip()))
