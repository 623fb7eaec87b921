"""What the report of a model that draws shows, under which headings, and what a sweep says of each job."""

from __future__ import annotations

from razor_cli.report.layout import Attacked, Block, Facts, Layout, Reading, Sentence, Spread, Turns

FORGOTTEN = Block(
    title="What was forgotten (UA: pictures asked of the target that are not taken for it)",
    readings=(
        Reading("UA", "ua", "benchmark"),
        Reading("UA valid", "ua_valid", "benchmark"),
        Reading("rejects", "rejects", "benchmark"),
        Reading("UA, other templates", "ua", "templates"),
        Reading("valid, other templates", "ua_valid", "templates"),
        Reading("UA, quick", "ua", "slug_quick"),
    ),
)
TURNS = Turns(
    title="Target by target (UA), and what was kept of the rest",
    gone=Reading("UA", "ua_name"),
    keep=(Reading("IRA", "ira", "*benchmark"), Reading("CRA", "cra", "*benchmark")),
)
RECOVERY = Sentence(
    label="recovery",
    text="share of the forgetting that quantization undoes",
    readings=(
        Reading("benchmark's template", "rec", "benchmark"),
        Reading("other templates", "rec", "templates"),
    ),
)
KEPT = Block(
    title="What was kept (IRA: other names of the target's kind; CRA: names of the other kinds)",
    readings=(
        Reading("IRA", "ira", "benchmark"),
        Reading("CRA", "cra", "benchmark"),
        Reading("CRA, all pictures", "cra", "benchmark/all"),
        Reading("near", "near", "benchmark"),
        Reading("IRA, other templates", "ira", "templates"),
        Reading("CRA, other templates", "cra", "templates"),
        Reading("IRA, quick", "ira", "slug_quick"),
        Reading("CRA, quick", "cra", "slug_quick"),
    ),
)
ZERO_SHOT = Block(
    title="Judged by a zero-shot CLIP, which stands in the variant, and by no classifier",
    readings=(
        Reading("zero-shot UA", "ua", "zero_shot:*/benchmark"),
        Reading("valid", "ua_valid", "zero_shot:*/benchmark"),
        Reading("UA, other templates", "ua", "zero_shot:*/templates"),
        Reading("zero-shot IRA", "ira", "zero_shot:*/benchmark"),
        Reading("zero-shot CRA", "cra", "zero_shot:*/benchmark"),
        Reading("near", "near", "zero_shot:*/benchmark"),
    ),
)
QUALITY = Block(
    title="Pictures without the target",
    readings=(
        Reading("FID to base", "fid", "*/base"),
        Reading("FID to data", "fid", "*/data"),
        Reading("CLIPScore", "clip_score", "*"),
    ),
)
JUDGES = Facts(label="judges", text="right on held-out pictures", metric="judge_acc")
OTHERS = Spread(
    title="What the edit did to the other names (accuracy, points)",
    mean=Reading("mean drop ↓", "ira_drop", "*benchmark/base"),
    worst=Reading("worst drop ↓", "ira_worst"),
    which="of which name",
)
ASKED_ELSE = Attacked(
    block=Block(
        title="Asked without the prompt (UA: pictures without the target, low: it came back; base: how well "
        "the probe finds it in the unedited model)",
        readings=(
            Reading("UA", "ua", "*benchmark"),
            Reading("UA valid", "ua_valid", "*benchmark"),
            Reading("rejects", "rejects", "*benchmark"),
            Reading("since base", "ua_drop", "*benchmark/base"),
            Reading("UA, other templates", "ua", "*templates"),
            Reading("valid, other templates", "ua_valid", "*templates"),
        ),
    ),
    lost=(Reading("UA", "ua", "*benchmark"), Reading("UA", "ua", "*templates")),
    most=50.0,
    warning="finds the target in only {share} % of the unedited model's pictures, so UA under it says "
    "nothing of the edit",
    alone="no model that was trained without the target stands beside: completion and inpainting show every "
    "model the target's own pixels, and the judge may find it by these",
)
LAYOUT = Layout(
    parts=(FORGOTTEN, TURNS, RECOVERY, KEPT, ZERO_SHOT, JUDGES, QUALITY, OTHERS),
    attacked=ASKED_ELSE,
    progress=(
        Reading("UA", "ua", "benchmark"),
        Reading("IRA", "ira", "benchmark"),
        Reading("CRA", "cra", "benchmark"),
        Reading("zero-shot UA", "ua", "zero_shot:*/benchmark"),
        Reading("IRA", "ira", "zero_shot:*/benchmark"),
        Reading("CRA", "cra", "zero_shot:*/benchmark"),
    ),
)
