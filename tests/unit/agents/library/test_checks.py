"""The named checks of a text, and the rules that repair one."""

from __future__ import annotations

import pytest

from tests.support.effort import effort
from ucop.agents.library.checks import Check, Rules, check_text, repeated, ungrounded, verdict
from ucop.agents.library.revision import by_rules
from ucop.agents.production.placeholders import placeholders

TRAINS = "Trains leave on time in every town. A small delay does not spread to other trains."


@pytest.mark.parametrize(
    "text",
    [
        "Dear [Your Name], welcome.",
        "Signed by [Landlord's Name].",
        "Thanks to [Team Member's Name] for this.",
        "Read [insert link to the page] first.",
        "Hello {{ user.name }}!",
        "Hello ${name}!",
        "Go to <your company name>.",
        "TODO write this part",
        "- TBD",
        "Lorem ipsum dolor sit amet.",
    ],
)
def test_what_was_left_to_fill_in_is_found(text: str) -> None:
    assert placeholders(text) != []


@pytest.mark.parametrize(
    "text",
    [
        "See [the product page](https://example.com) and the note [1].",
        "[name]: https://example.com",
        "The list [1, 2, 3] has three items …",
        "In Python f'{name}' fills a name in, and a set is {1, 2}.",
        "Lorem ipsum is a text that printers use.",
        "Write down what is still to do, and call that list TODO.",
        "He said that prices [in the north] rose.",
        "An email goes to <anna@example.com>.",
    ],
)
def test_honest_prose_has_no_placeholders(text: str) -> None:
    assert placeholders(text) == []


def test_a_sentence_that_is_said_again_is_found_once_for_each_time() -> None:
    assert repeated(TRAINS) == []
    assert repeated(f"{TRAINS}\n\n## More\n\nTrains leave on time in every town.") == [
        "Trains leave on time in every town."
    ]


def test_a_sentence_is_held_to_the_sources() -> None:
    rules = Rules(sources=(TRAINS,))
    assert ungrounded("Small delays spread to a train.", rules) == []
    assert ungrounded("Elephants enjoy swimming in lakes.", rules) == [
        "Elephants enjoy swimming in lakes."
    ]


def test_without_sources_nothing_is_said_of_grounding() -> None:
    assert [c.name for c in check_text(TRAINS, Rules())] == ["length", "placeholders", "repetition"]


def test_quoted_text_is_checked_as_well() -> None:
    assert repeated(f"> {TRAINS}\n\n{TRAINS}") != []


def test_a_check_that_does_not_count_is_told_and_decides_nothing() -> None:
    checks = [
        Check(name="length", passed=True, detail="9 words"),
        Check(name="score", passed=False, detail="1", counts=False),
    ]
    found = verdict(checks, round=1, words=9)
    assert (found.passed, found.failed, found.remarks) == (True, [], None)
    assert found.checks == checks


def test_rules_take_out_what_is_at_fault_and_fill_up_from_the_sources() -> None:
    source = f"{TRAINS} Tickets can be bought at every station."
    rules = Rules(min_words=20, sources=(source,))
    faulty = f"{TRAINS} Elephants swim in lakes all day long. Trains leave on time in every town."
    repaired = by_rules(faulty, rules)
    assert repaired == source
    assert by_rules(repaired, rules) == repaired


def test_rules_end_a_long_text_after_a_whole_sentence() -> None:
    rules = Rules(max_words=10)
    assert by_rules(TRAINS, rules) == "Trains leave on time in every town."
    assert by_rules("One sentence of many words that nobody can cut.", Rules(max_words=3)) == (
        "One sentence of many words that nobody can cut."
    )


def test_rules_find_a_sentence_whose_lines_are_broken() -> None:
    text = "Elephants swim in\nlakes all day. Trains leave on time\nin every town. Trains leave\non time in every town.\n"
    assert by_rules(text, Rules(sources=(TRAINS,))).split() == TRAINS.split()[:7]


def test_rules_keep_the_headings_of_a_text() -> None:
    text = f"# Trains\n\nElephants swim in lakes all day.\n\n## Delays\n\n{TRAINS}\n"
    assert by_rules(text, Rules(sources=(TRAINS,))) == (f"# Trains\n\n## Delays\n\n{TRAINS}\n")


@pytest.mark.parametrize(
    "hostile",
    [
        *("[" * 40_000, "![" * 20_000, "[a](" * 10_000, "a " * 20_000, "> " * 20_000),
        *("<your " * 8_000, "[" + "a_" * 20_000, "<your " + "a_" * 20_000, "<!--" * 10_000),
        *("```\n~~~\n" * 5_000, "a. " * 13_000, "A b c d. " * 4_000, "{{" * 20_000, "-\n" * 20_000),
        *("| " * 20_000, "**" * 20_000, " " * 40_000, "\n" * 40_000, "e.g. A" * 6_000),
    ],
    ids=lambda text: text[:8],
)
def test_checks_and_repairs_are_quick_on_any_text(hostile: str) -> None:
    rules = Rules(sources=(TRAINS,), max_words=10)
    assert effort(lambda: check_text(hostile, rules), tries=1) < 100, (
        "at most 25 when this was written"
    )
    assert effort(lambda: by_rules(hostile, rules), tries=1) < 100, (
        "at most 25 when this was written"
    )
