"""What the report of a model that answers shows, under which headings, and what a sweep says of each job."""

from __future__ import annotations

from razor_cli.report.layout import Block, Layout, Reading, Sentence, Spread, Turns

HEADS = tuple(f"{mode}/{match}" for mode in ("multi", "paper") for match in ("full", "surname", "any_alias"))
KINDS = ("other_name", "part_of_name", "generic", "refusal", "nothing", "else")
WITHOUT = "perception_without_celebrity"


def _headed(heading: str, metric: str) -> tuple[Reading, ...]:
    """Return a column for each way of asking and matching, which stands in its head; a run has one."""
    return tuple(Reading(f"{heading} {head}", metric, head) for head in HEADS)


FORGOTTEN = Block(
    title="What was forgotten (FA: questions for the target's name that are answered with it)",
    readings=(
        *_headed("FA", "fa"),
        *_headed("FA first", "fa_first"),
        Reading("name chosen", "binding", "choice"),
        Reading("name confirmed", "binding", "claim"),
    ),
)
TURNS = Turns(
    title="Target by target (FA), and what was kept of the rest",
    gone=Reading("FA", "fa_name"),
    keep=(Reading("retain FA", "retain_fa"), Reading("near", "near")),
)
MISSES = Block(
    title="What is said in place of the name (share of the answers without it)",
    readings=(
        *(Reading(kind.replace("_", " "), "misses", kind) for kind in KINDS),
        Reading("names nobody", "unnamed", ""),
    ),
)
RECOVERY = Sentence(
    label="recovery",
    text="share of the forgetting that quantization undoes",
    readings=(Reading("FA", "rec", "fa/*"),),
)
KEPT = Block(
    title="What was kept",
    readings=(
        *_headed("retain FA", "retain_fa"),
        *_headed("near", "near"),
        Reading("others' names chosen", "binding_others", "choice"),
        Reading("confirmed", "binding_others", "claim"),
        Reading("looks", "looks", "open"),
        Reading("looks yes/no", "looks", "yes_no"),
        Reading("facts of the target", "facts", "target"),
        Reading("facts of others", "facts", "others"),
        Reading("refused names", "refusals", "names"),
    ),
)
SETS = Block(
    title="Question sets",
    readings=tuple(
        Reading(f"{title}{told}", metric + suffix, variant)
        for suffix, shaped in (("", ""), ("_shaped", "-shaped"))
        for title, told, metric, variant in (
            ("MME" + shaped, " perception", "mme", "prefix4/perception"),
            ("MME" + shaped, " without names", "mme", f"prefix4/{WITHOUT}"),
            ("MME" + shaped, " cognition", "mme", "prefix4/cognition"),
            ("GQA" + shaped, "", "gqa", "ignore_case_punct/accuracy"),
            ("MMBench" + shaped, "", "mmbench", "*/score"),
        )
    ),
)
LOST = Block(
    title="Share of the unedited model's score that was lost",
    readings=(
        Reading("yes/no, without names", "answers_loss", "yes_no"),
        Reading("open questions", "answers_loss", "open"),
    ),
)
NAMES = Spread(
    title="What the edit did to the other names (points)",
    mean=Reading("drop ↓", "retain_fa_drop", "*/base"),
    worst=Reading("worst drop ↓", "retain_fa_worst"),
    which="of which name",
)
LAYOUT = Layout(
    parts=(FORGOTTEN, TURNS, MISSES, RECOVERY, KEPT, SETS, LOST, NAMES),
    progress=(
        *(Reading("FA", "fa", head) for head in HEADS),
        *(Reading("retain", "retain_fa", head) for head in HEADS),
    ),
)
