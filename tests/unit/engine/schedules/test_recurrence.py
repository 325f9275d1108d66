"""When schedules are due: cron in time zones, intervals, and what is caught up."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucop.engine import InvalidInput
from ucop.engine.schedules.recurrence import CatchUp, Every, Recurrence, recurrence, turn

BERLIN = "Europe/Berlin"


def at(text: str) -> float:
    """Seconds of a time in ISO 8601; without an offset it is UTC."""
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def times(rule: str, zone: str, start: str, number: int) -> list[str]:
    """The next times of a rule, in UTC."""
    found, now = [], at(start)
    for _ in range(number):
        comes = recurrence(rule, zone, at(start)).after(now)
        assert comes is not None
        found.append(datetime.fromtimestamp(comes, UTC).strftime("%m-%d %H:%M"))
        now = comes
    return found


def test_a_fixed_time_that_clocks_leave_out_is_run_when_they_have_moved_on() -> None:
    # 29 March 2026: 02:00 +01:00 becomes 03:00 +02:00.
    assert times("30 2 * * *", BERLIN, "2026-03-28T00:00", 3) == [
        "03-28 01:30",
        "03-29 01:00",
        "03-30 00:30",
    ]


def test_two_fixed_times_that_clocks_leave_out_are_run_once() -> None:
    assert times("0,30 2 * * *", BERLIN, "2026-03-28T12:00", 2) == ["03-29 01:00", "03-30 00:00"]


def test_a_fixed_time_that_clocks_repeat_is_run_the_first_time_only() -> None:
    # 25 October 2026: 03:00 +02:00 becomes 02:00 +01:00.
    assert times("30 2 * * *", BERLIN, "2026-10-24T12:00", 2) == ["10-25 00:30", "10-26 01:30"]
    between = "2026-10-25T01:10"  # 02:10, the second time
    assert times("30 2 * * *", BERLIN, between, 1) == ["10-26 01:30"]


def test_a_time_of_every_hour_is_run_in_each_hour_that_really_is() -> None:
    assert times("0 * * * *", BERLIN, "2026-10-24T23:30", 4) == [
        "10-25 00:00",
        "10-25 01:00",
        "10-25 02:00",
        "10-25 03:00",
    ]
    assert times("0 * * * *", BERLIN, "2026-03-29T00:30", 2) == ["03-29 01:00", "03-29 02:00"]


def test_the_zone_decides_when_a_day_begins() -> None:
    assert times("0 0 * * *", "America/New_York", "2026-01-01T00:00", 1) == ["01-01 05:00"]
    assert times("0 0 * * *", "UTC", "2026-01-01T00:00", 1) == ["01-02 00:00"]


def test_an_interval_keeps_to_its_anchor() -> None:
    anchor = at("2026-01-01T00:00:07")
    every = recurrence("every 15m", "UTC", anchor)
    late = anchor + 3 * 900 + 13.5
    assert every.after(late) == anchor + 4 * 900
    assert every.after(anchor - 3600) == anchor
    assert list(islice(every.until(late), 9)) == [anchor + n * 900 for n in (3, 2, 1, 0)]


@given(
    seconds=st.floats(1, 1e6), anchor=st.floats(0, 4e9), since=st.floats(0, 1e8), turns=st.just(50)
)
def test_an_interval_is_never_late_nor_twice_at_one_time(
    seconds: float, anchor: float, since: float, turns: int
) -> None:
    every, now = Every(seconds, anchor, ""), anchor + since
    for _ in range(turns):
        found = every.after(now)
        assert found is not None
        assert now < found <= now + seconds * 1.001
        assert next(every.until(found)) == found
        now = found


@given(
    rule=st.sampled_from(
        ["30 2 * * *", "0,30 2 * * *", "*/20 * * * *", "15 1-3 * * *", "0 3 29 3 *", "5 2 * * SUN"]
    ),
    start=st.datetimes(datetime(2026, 3, 27), datetime(2026, 3, 31))
    | st.datetimes(datetime(2026, 10, 23), datetime(2026, 10, 27)),
)
def test_the_way_back_meets_the_times_of_the_way_there(rule: str, start: datetime) -> None:
    cron, first = recurrence(rule, BERLIN, 0), start.replace(tzinfo=UTC).timestamp()
    there, now = [], first
    while (found := cron.after(now)) is not None and found <= first + 90_000:
        assert found > now
        there.append(found)
        now = found
    back = [found for found in islice(cron.until(first + 90_000), 200) if found > first]
    assert back == sorted(there, reverse=True)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("30 6 * * MON-FRI", "06:30"),
        ("every 15m", "Every 15 minutes, counted from 2026-01-01 00:00:00 UTC"),
        ("every 1 h", "Every hour"),
        ("0 9 1 * *", "Europe/Berlin"),
    ],
)
def test_a_rule_is_told_in_words(rule: str, words: str) -> None:
    assert words in recurrence(rule, BERLIN, at("2026-01-01T00:00")).explain()


@pytest.mark.parametrize(
    ("rule", "zone", "said"),
    [
        ("61 * * * *", "UTC", "no cron rule"),
        ("* * *", "UTC", "five fields"),
        ("0 0 30 2 *", "UTC", "no cron rule"),
        ("0 0 29 2 MON#5", "UTC", None),
        ("every 0s", "UTC", "no interval"),
        ("every day", "UTC", "no interval"),
        ("every 900d", "UTC", "no interval"),
        ("0 0 * * *", "Mars/Olympus", "no time zone"),
        ("0 0 * * *", "../../etc/passwd", "no time zone"),
        ("", "UTC", "no cron rule"),
    ],
)
def test_a_rule_that_is_none_is_refused_with_what_is_one(
    rule: str, zone: str, said: str | None
) -> None:
    if said is None:
        assert recurrence(rule, zone, at("2026-01-01T00:00")).after(0)
        return
    with pytest.raises(InvalidInput, match=said):
        recurrence(rule, zone, 0)


# ---------------------------------------------------------------- catching up

HOURLY: Recurrence = recurrence("0 * * * *", "UTC", 0)
SINCE = at("2026-01-01T10:00")
ON_TIME, SOON, LATER = SINCE + 0.2, SINCE + 30, at("2026-01-01T13:30")


def hour(time: float | None) -> int | None:
    return None if time is None else datetime.fromtimestamp(time, UTC).hour


@pytest.mark.parametrize("catch_up", list(CatchUp))
@pytest.mark.parametrize("now", [ON_TIME, SOON])
def test_a_time_that_has_just_come_is_run_under_each_policy(catch_up: CatchUp, now: float) -> None:
    found = turn(HOURLY, SINCE, now, catch_up, 100)
    assert (hour(found.due), hour(found.next), found.skipped) == (10, 11, False)


def test_none_skips_what_was_missed() -> None:
    found = turn(HOURLY, SINCE, LATER, CatchUp.NONE, 100)
    assert (found.due, hour(found.next), found.skipped) == (None, 14, True)


def test_none_still_runs_the_newest_where_that_has_just_come() -> None:
    found = turn(HOURLY, SINCE, at("2026-01-01T13:00:20"), CatchUp.NONE, 100)
    assert (hour(found.due), hour(found.next), found.skipped) == (13, 14, True)


def test_latest_runs_the_newest() -> None:
    found = turn(HOURLY, SINCE, LATER, CatchUp.LATEST, 100)
    assert (hour(found.due), hour(found.next), found.skipped) == (13, 14, True)


def test_all_runs_each_in_its_order() -> None:
    ran, since = [], SINCE
    while since <= LATER:
        found = turn(HOURLY, since, LATER, CatchUp.ALL, 100)
        assert found.next is not None
        ran.append(hour(found.due))
        since = found.next
    assert (ran, hour(since)) == ([10, 11, 12, 13], 14)


def test_all_has_a_bound() -> None:
    found = turn(HOURLY, SINCE, LATER, CatchUp.ALL, 2)
    assert (hour(found.due), hour(found.next), found.skipped) == (12, 13, True)


def test_a_year_of_missed_minutes_is_caught_up_without_counting_them() -> None:
    minutely = recurrence("* * * * *", "UTC", 0)
    for policy in CatchUp:
        found = turn(minutely, SINCE - 365 * 86_400, SINCE + 5, policy, 3)
        assert found.due is not None
        assert found.due >= SINCE - 120
