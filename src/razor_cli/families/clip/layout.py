"""What the report of a CLIP shows, under which headings, and what a sweep says of each job."""

from __future__ import annotations

from razor_cli.report.layout import Beside, Block, Layout, Reading, Sentence, Spread, Turns

MEAN, NAMES = "dual/mean_of_classes", "multiclass"  # a SigLIP is judged by the second
FORGOTTEN = Block(
    title="What was forgotten",
    readings=(
        Reading("M1 mean prompt", "m1", MEAN, instead=Reading("M1 all names", "m1", NAMES)),
        Reading("M1 generic", "m1", "dual/generic"),
        Reading("M2 similarity", "m2", "prompt"),
    ),
)
TURNS = Turns(
    title="Target by target (M1 against the generic prompt), and what was kept of the rest",
    gone=Reading("M1", "m1_name"),
    keep=(
        Reading("M4 generic", "m4", "dual/generic"),
        Reading("M5 retrieval", "m5", "retrieval/base"),
        Reading("others' accuracy", "others_acc", "macro"),
    ),
)
RECOVERY = Sentence(
    label="recovery",
    text="share of the forgetting that quantization undoes",
    readings=(
        Reading("mean prompt", "rec", "dual/mean_of_classes"),
        Reading("generic", "rec", "dual/generic"),
    ),
)
KEPT = Block(
    title="What was kept",
    readings=(
        Reading("M3 drift", "m3", "retain_sq_drift/*/base"),
        Reading("M4 generic", "m4", "dual/generic"),
        Reading("M5 retrieval", "m5", "retrieval/base"),
        Reading("others' accuracy", "others_acc", "macro"),
        Reading("zero-shot mean", "zero_shot", "mean"),
        Reading("", "zs_*", "top1", but="*_drop"),  # a column for each unrelated task
    ),
)
TRACED = (  # of a run on a taxonomy: heading, metric
    ("Quality", "quality"),
    ("Utility kept", "utility"),
    ("Q-U", "q_u"),
    ("D_f fine", "df_fine"),
    ("D_f coarse", "df_coarse"),
    ("D_r fine", "dr_fine"),
    ("D_r coarse", "dr_coarse"),
)
IN_DISTRIBUTION, OUT_OF_DISTRIBUTION = (
    Block(title=title, readings=tuple(Reading(name, metric, variant) for name, metric in TRACED))
    for title, variant in (
        ("Fine labels forgotten, coarse labels kept", "in"),
        ("The same out of distribution", "ood"),
    )
)
BESIDE = Beside(
    title="Beside a model retrained without the target",
    title_without="Beside a base of another seed",
    readings=(
        Reading("JSD forget", "{model}_jsd", "forget"),
        Reading("JSD among others", "{model}_jsd", "forget_without_target"),
        Reading("JSD retain", "{model}_jsd", "retain"),
        Reading("same top-1 forget", "{model}_top1_agreement", "forget"),
        Reading("same top-1 retain", "{model}_top1_agreement", "retain"),
    ),
    of_oracle=(Reading("PrivLeak caption", "privleak", "own_caption"),),
)
OTHERS = Spread(
    title="What the edit did to the others (accuracy, points)",
    mean=Reading("mean drop ↓", "others_acc_drop", "macro/base"),
    worst=Reading("worst drop ↓", "others_worst"),
    which="of which concept",
)
LAYOUT = Layout(
    parts=(FORGOTTEN, TURNS, RECOVERY, KEPT, IN_DISTRIBUTION, OUT_OF_DISTRIBUTION, BESIDE, OTHERS),
    progress=(
        Reading("M1", "m1", MEAN, instead=Reading("M1", "m1", NAMES)),
        Reading("M4", "m4", "dual/generic"),
        Reading("M5", "m5", "retrieval/base"),
    ),
)
