"""What a person types reaches the configuration as typed."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from razor_cli.config.command_line import read
from razor_cli.config.compose import compose
from razor_cli.config.overrides import NESTED, quote, quote_list, quote_text, shell_command, split
from razor_cli.data.embedded import several

PARSER = OverridesParser.create()
printable = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=30)
nasty = st.text("aé李 \\'\"${}[]():=.,~+-#&|<>@!?*%^`;0", min_size=1, max_size=14)
names = st.one_of(printable, nasty)
TYPED = [
    "Conan O'Brien",
    "Beyoncé",
    "Robert Downey Jr.",
    "李小龙",
    "Malala Yousafzai (2014)",
    "null",
    "1984",
    "true",
    "${oc.env:HOME}",
    "a=b",
    "[x]",
    "{x: y}",
    "50%",
    "'Tis",
    '"Weird Al" Yankovic',
    '"Heroes"',
    "'Heroes'",
    "'it\\'s'",
    "C:\\dir\\",
    "Downey, Robert",
    "~x",
    "x#y",
    "--",
    "a\\'b",
    "\\${y}",
]


def value_of(override: str) -> object:
    """Return what a configuration holds after Hydra parsed an override."""
    cfg = OmegaConf.create({"target": PARSER.parse_override(override).value()})
    return OmegaConf.to_container(cfg, resolve=True)["target"]


@given(names)
def test_quoted_name_comes_back_as_typed(name: str) -> None:
    assume(name != "???")  # OmegaConf's mark of a missing value; refused as a target
    assert value_of(f"target={quote(name)}") == name


@given(names.filter(lambda n: n != "???"))
def test_typed_name_round_trips(name: str) -> None:
    assert value_of(f"target={quote_text(name, multirun=False, optional=False)}") == name


@given(
    st.lists(
        names.filter(lambda n: "," not in n and n.strip() == n and n[0] not in "'\"[" and n != "???"),
        min_size=2,
        max_size=4,
    )
)
def test_sweep_gives_each_name_as_typed(targets: list[str]) -> None:
    assume(not any(n.endswith(")") for n in targets))  # choice(...) stays Hydra's
    override = PARSER.parse_override("target=" + quote_text(",".join(targets), multirun=True, optional=False))
    assert [value_of(f"target={point}") for point in override.sweep_string_iterator()] == targets


@given(
    st.lists(
        names.filter(lambda n: "," not in n and n.strip() == n and n[0] not in "'\"" and n != "???"),
        min_size=1,
        max_size=4,
    )
)
def test_list_gives_each_alias_as_typed(aliases: list[str]) -> None:
    assume(not NESTED.fullmatch(f"[{', '.join(aliases)}]"))  # lists in lists are refused, not read as text
    assert value_of("data.aliases=" + quote_list(f"[{', '.join(aliases)}]", multirun=False)) == aliases


@pytest.mark.parametrize("name", TYPED)
def test_target_reaches_the_configuration_as_typed(name: str) -> None:
    request = read([f"target={name}"])
    assert not request.problems
    assert OmegaConf.to_container(compose(request), resolve=True)["target"] == name


def test_comma_inside_a_name_of_a_sweep_is_kept_by_quotes() -> None:
    assert split('"Downey, Robert",Taylor Swift') == ['"Downey, Robert"', "Taylor Swift"]
    override = PARSER.parse_override(
        "target=" + quote_text('"Downey, Robert",Conan O\'Brien', multirun=True, optional=False)
    )
    points = [value_of(f"target={p}") for p in override.sweep_string_iterator()]
    assert points == ["Downey, Robert", "Conan O'Brien"]


def test_optional_text_keeps_null_and_required_text_does_not() -> None:
    assert quote_text("null", multirun=False, optional=True) == "null"
    assert value_of("target=" + quote_text("null", multirun=False, optional=False)) == "null"
    assert value_of("target=" + quote_text("'null'", multirun=False, optional=True)) == "null"


@pytest.mark.parametrize("value", ["[[a],[b]]", "[a,[b]]", "[{a: b}]", "[a, [b, c]]"])
def test_lists_in_lists_stay_lists(value: str) -> None:
    assert not all(isinstance(v, str) for v in value_of("data.aliases=" + quote_list(value, multirun=False)))  # type: ignore[attr-defined]


def test_paths_and_lists_reach_the_configuration_as_typed() -> None:
    request = read(
        [
            "data.root=/my pictures/a=b",
            "model.weights=null",
            "data.aliases=[Conan O'Brien,Beyoncé]",
            "+data.keyword=x y",
        ]
    )
    cfg = compose(request)
    assert (cfg.data.root, cfg.model.weights, cfg.data.keyword) == ("/my pictures/a=b", None, "x y")
    assert list(cfg.data.aliases) == ["Conan O'Brien", "Beyoncé"]


def test_other_settings_are_left_to_hydra() -> None:
    assert read(["data.n_forget=5", "engine=plain"]).overrides == ["++data.n_forget=5", "++engine=plain"]


@given(names.filter(lambda n: n != "???"))
@example("null")
def test_rerun_command_gives_the_same_target(name: str) -> None:
    word = shlex.split(shell_command([f"++target={quote(name)}"]))[1]
    again = quote_text(word.removeprefix("target="), multirun=False, optional=False)
    assert value_of(f"target={again}") == name


def test_names_between_commas_are_met_with_how_to_ask_for_each() -> None:
    known = ["Taylor Swift", "Lady Gaga"]
    fix = several("taylor swift,Lady Gaga", known)
    assert fix == 'add -m for a run of each, or target="[taylor swift, Lady Gaga]" for one edit of all'
    assert several("Taylor Swift,Nobody", known) is None and several("Taylor Swift", known) is None
