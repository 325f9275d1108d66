"""The real `ucop console` on a pseudo-terminal."""

from __future__ import annotations

import re
import signal

from tests.support.command import Ucop
from tests.support.terminal import Terminal


def is_clean(terminal: Terminal) -> bool:
    """Whether the other screen is left, and the cursor and the mouse are given back."""
    text = terminal.shown
    return (
        text.rfind("\x1b[?1049l") > text.rfind("\x1b[?1049h") >= 0
        and text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")
        and text.rfind("\x1b[?1000l") >= text.rfind("\x1b[?1000h")
    )


def test_the_console_opens_a_job_and_quits_with_a_clean_terminal(ucop: Ucop) -> None:
    id = ucop("run", "say", "-i", "text=hello", "--json").json["id"]
    terminal = Terminal(ucop, "console", NO_COLOR="1")
    terminal.until(f"✓ completed +{id[:12]} +say")
    terminal.type("\r")
    terminal.until("1 Overview")
    terminal.type("q")
    assert terminal.end() == 0
    assert is_clean(terminal)
    # Not even grey: NO_COLOR is kept to the letter.
    assert not re.search(r"\x1b\[[0-9;]*(?<![0-9])[34]8;[25]", terminal.shown)
    assert "Traceback" not in terminal.text


def test_a_terminated_console_leaves_a_clean_terminal(ucop: Ucop) -> None:
    terminal = Terminal(ucop, "console")
    terminal.until("No jobs yet")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.end() == 0
    assert is_clean(terminal)


def test_what_is_no_terminal_is_told_so(ucop: Ucop) -> None:
    done = ucop("console")
    assert done.code == 2
    assert "needs a terminal" in done.err
    assert "ucop jobs list" in done.err
    dumb = Terminal(ucop, "console", TERM="dumb")
    assert dumb.end() == 2
    assert "\x1b" not in dumb.shown


def test_a_job_that_is_not_there_is_told_before_the_screen_is_taken(ucop: Ucop) -> None:
    terminal = Terminal(ucop, "console", "nonesuch")
    assert terminal.end() == 3
    assert "no job 'nonesuch'" in terminal.text
    assert "\x1b[?1049h" not in terminal.shown
