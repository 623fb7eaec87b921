"""Which scores tables read: those that a score file keeps."""

from __future__ import annotations

from fnmatch import fnmatchcase

READ = (  # (metric, pattern of the variant): the scores that tables read
    ("m1", "dual/mean_of_classes"),
    ("m1", "dual/generic"),
    ("m1_drop", "dual/*/base"),
    ("m2", "prompt"),
    ("m3", "retain_sq_drift/x100/base"),
    ("m4", "dual/generic"),
    ("m4_drop", "dual/generic/base"),
    ("m5", "retrieval/base"),
    ("fa_top1", "all_classes"),
    ("others_acc", "macro"),
    ("others_acc_drop", "macro/base"),
    ("rec", "dual/mean_of_classes"),
    ("oracle_jsd", "forget"),
    ("oracle_jsd", "retain"),
    ("oracle_top1_agreement", "forget"),
    ("rf_jsd", "class_mean"),
    ("zero_shot", "mean"),
    ("zs_*", "top1"),
    ("d[fr]_*", "*"),
    ("quality", "*"),
    ("utility", "*"),
    ("q_u", "*"),
    # of models that answer
    ("fa*", "*/*"),
    ("retain_fa*", "*/*"),
    ("near", "*/*"),
    ("unnamed", ""),
    ("binding", "choice"),
    ("looks", "open"),
    ("facts", "target"),
    ("refusals", "names"),
    ("rec", "fa/*"),
    ("mme*", "prefix4/perception*"),
    ("mme*", "prefix4/cognition*"),
    ("gqa*", "ignore_case_punct/accuracy*"),
    ("mmbench*", "*/score*"),
    ("answers_loss", "*"),
    # of models that draw
    ("ua", "*"),
    ("ua_valid", "*"),
    ("ira", "*"),
    ("cra", "*"),
    ("near", "*"),
    ("rejects", "*"),
    ("ira_name", "*"),
    ("fid", "*"),
)


def is_read(metric: str, variant: str) -> bool:
    """Tell whether tables read a score."""
    return any(fnmatchcase(metric, m) and fnmatchcase(variant, v) for m, v in READ)
