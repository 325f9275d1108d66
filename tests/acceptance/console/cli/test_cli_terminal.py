"""What a person at a terminal sees: the moving table, aligned columns, no colour on request."""

from __future__ import annotations

import re

from tests.support.command import Ucop
from tests.support.terminal import Terminal


def test_a_table_shows_every_node_and_ticks(ucop: Ucop) -> None:
    terminal = Terminal(ucop, "run", "gated", "-i", "text=hello")
    terminal.until(r"shout +done +\d")
    terminal.until(r"gate +running +0\.[1-9] s .*looks for go\.txt")
    terminal.until(r"gate +running +0\.[2-9] s")
    terminal.until(r"last +waiting")
    ucop.write("go.txt", "on")
    assert terminal.end() == 0
    final = terminal.text.rsplit("node ", 1)[1]
    assert re.search(r"last +done", final)
    assert "answer: ON" in final


def test_a_failed_node_is_told_by_a_word(ucop: Ucop) -> None:
    terminal = Terminal(ucop, "run", "needy", "-i", "text=hello")
    assert terminal.end() == 1
    assert re.search(r"need +failed +\d.* no cure\.txt", terminal.text)
    assert re.search(r"last +not run", terminal.text)


def test_ctrl_c_on_the_terminal_leaves_it_usable(ucop: Ucop) -> None:
    terminal = Terminal(ucop, "run", "gated", "-i", "text=hello", UCOP_GRACE="0")
    terminal.until(r"gate +running")
    terminal.process.send_signal(2)
    assert terminal.end() == 130
    assert "ucop jobs resume " in terminal.text
    # The cursor that the table hid is back.
    assert terminal.shown.rfind("\x1b[?25h") > terminal.shown.rfind("\x1b[?25l")


def test_lists_have_titles_and_colour_unless_it_is_declined(ucop: Ucop) -> None:
    ucop("run", "say", "-i", "text=hello")
    coloured = Terminal(ucop, "jobs", "list")
    assert coloured.end() == 0
    assert re.search(r"id +workflow +status", coloured.text)
    assert "\x1b[32m" in coloured.shown
    plain = Terminal(ucop, "jobs", "list", NO_COLOR="1")
    assert plain.end() == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", plain.shown)
    assert "completed" in plain.text


def test_a_dumb_terminal_gets_lines(ucop: Ucop) -> None:
    terminal = Terminal(ucop, "run", "say", "-i", "text=hello", TERM="dumb")
    assert terminal.end() == 0
    assert "shout: running" in terminal.shown
    assert "\x1b" not in terminal.shown


def test_what_a_job_holds_gives_the_terminal_no_orders(ucop: Ucop) -> None:
    order = "\x1b]0;owned\x07"
    assert (
        ucop("run", "say", "-i", f"text=a{order}b").out == f"A{order.upper()}B\n"
    )  # data, as it is
    terminal = Terminal(ucop, "run", "say", "-i", f"text=a{order}b")
    assert terminal.end() == 0
    assert order.upper() not in terminal.shown
    assert "A\\x1b]0;OWNED\\x07B" in terminal.shown
