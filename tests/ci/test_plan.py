"""What the choice of CI's slow suites promises, over any days and any changes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.ci.history import Commit
from infra.ci.plan import choose, describe, lanes, last_due
from infra.ci.suites import WEEKDAYS, Rules, Suite, load_rules
from tests.support.checkout import REPOSITORY

RULES = load_rules(REPOSITORY / ".ci/suites.toml")
MONDAY = date(2026, 11, 30)
FOLDERS = sorted({folder for suite in RULES.suites for folder in suite.folders})
changes = st.lists(st.sampled_from([*FOLDERS, "docs/", "README.md"]), max_size=4)
weeks = st.tuples(st.dates(date(2026, 1, 1), date(2036, 1, 1)), st.tuples(*[changes] * 14))


def suite(name: str, minutes: int, *weekdays: str, folders: Sequence[str] = ()) -> Suite:
    return Suite(
        name=name, minutes=minutes, weekdays=weekdays, folders=tuple(folders or [f"{name}/"])
    )


def rules(*suites: Suite, budget: int = 20) -> Rules:
    return Rules(budget=budget, always=("test",), suites=suites)


def commit(day: date, *paths: str, hour: int = 12) -> Commit:
    moment = datetime.combine(day, time(hour), UTC)
    return Commit(sha=f"{moment:%Y%m%d%H}" * 4, time=moment, paths=paths)


def played(given: Rules, commits: Sequence[Commit]) -> set[str]:
    """The suites that run for the last of the commits."""
    day = commits[-1].time.date()
    before = {name: c.time.date() for name, c in last_due(given, commits, day).items()}
    return {c.suite.name for c in choose(given, day, commits[-1].paths, before) if c.runs}


@settings(max_examples=25, deadline=None)
@given(weeks)
def test_in_any_seven_days_every_suite_runs_twice_and_soak_once(
    fortnight: tuple[date, tuple[list[str], ...]],
) -> None:
    start, changed = fortnight
    history = [commit(start + timedelta(n), *paths) for n, paths in enumerate(changed)]
    runs = [played(RULES, history[: n + 1]) for n in range(len(history))]
    for first in range(8):
        week = [name for day in runs[first : first + 7] for name in day]
        for name in (each.name for each in RULES.suites):
            assert week.count(name) >= (1 if name == "soak" else 2), name


@settings(max_examples=25, deadline=None)
@given(weeks)
def test_no_day_goes_over_the_budget(fortnight: tuple[date, tuple[list[str], ...]]) -> None:
    start, changed = fortnight
    history = [commit(start + timedelta(n), *paths) for n, paths in enumerate(changed)]
    costs = {each.name: each.minutes for each in RULES.suites}
    assert sum(costs[name] for name in played(RULES, history)) <= RULES.budget


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), changes), min_size=1, max_size=12))
def test_a_rerun_is_the_same_and_the_order_of_commits_says_nothing(
    gaps: list[tuple[int, list[str]]],
) -> None:
    day, history = MONDAY, []
    for gap, paths in gaps:
        day += timedelta(gap)
        history.append(commit(day, *paths))
    assert last_due(RULES, history, day) == last_due(RULES, history[::-1], day)
    assert played(RULES, history) == played(RULES, history)


def test_weekly_submissions_come_to_every_suite() -> None:
    history = [commit(MONDAY + timedelta(7 * week), "docs/a.md") for week in range(14)]
    runs = [played(RULES, history[: n + 1]) for n in range(len(history))]
    for each in RULES.suites:
        assert sum(each.name in names for names in runs) >= 2, each.name


def test_a_touched_suite_runs_while_the_budget_lasts_and_the_longest_unplayed_first() -> None:
    given = rules(suite("a", 10, "Sunday"), suite("b", 10, "Saturday"), suite("c", 10, "Friday"))
    history = [commit(MONDAY - timedelta(days), "docs/") for days in (3, 2, 1)]
    assert played(given, [*history, commit(MONDAY, "a/x", "b/x", "c/x")]) == {"b", "c"}
    assert played(given, [*history, commit(MONDAY, "a/x")]) == {"a"}


def test_a_turn_is_kept_whatever_the_change_touches() -> None:
    given = rules(suite("a", 15, "Monday"), suite("b", 10, "Friday"))
    assert played(given, [commit(MONDAY, "b/x")]) == {"a"}


def test_a_smaller_suite_fits_where_a_larger_one_does_not() -> None:
    given = rules(suite("a", 15, "Monday"), suite("b", 10, "Friday"), suite("c", 5, "Friday"))
    assert played(given, [commit(MONDAY, "b/x", "c/x")]) == {"a", "c"}


def test_what_plays_at_once_fits_on_any_day_beside_the_turns() -> None:
    for n in range(7):
        day = MONDAY + timedelta(n)
        certain = [each for each in RULES.suites if each.at_once or each.has_turn(day)]
        assert sum(each.minutes for each in certain) <= RULES.budget, day


def test_a_suite_that_plays_at_once_waits_for_no_other() -> None:
    given = rules(suite("a", 15, "Friday"), suite("b", 10, "Sunday"), suite("c", 9, "Monday"))
    at_once = replace(suite("d", 9, "Thursday"), at_once=True)
    given = replace(given, suites=(*given.suites, at_once))
    assert played(given, [commit(MONDAY, "a/x", "b/x", "d/x")]) == {"c", "d"}
    assert played(given, [commit(MONDAY, "b/x")]) == {"b", "c"}


def test_a_missed_turn_is_caught_up_once() -> None:
    given = rules(suite("a", 10, "Saturday"))
    history = [commit(MONDAY - timedelta(3), "docs/"), commit(MONDAY, "docs/")]
    assert played(given, history) == {"a"}
    assert played(given, [*history, commit(MONDAY + timedelta(1), "docs/")]) == set()


def test_what_is_touched_comes_before_what_was_missed() -> None:
    given = rules(suite("a", 15, "Saturday"), suite("b", 15, "Thursday"))
    assert played(given, [commit(MONDAY, "b/x")]) == {"b"}


def test_only_the_last_commit_of_a_day_counts_as_its_submission() -> None:
    given = rules(suite("a", 10, "Thursday"))
    friday = MONDAY + timedelta(4)
    history = [commit(friday, "a/x", hour=2), commit(friday, "docs/", hour=20)]
    due = last_due(given, history, MONDAY + timedelta(6))
    assert due["a"].time.hour == 20
    assert "a" not in last_due(given, history, friday)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 30), max_size=9))
def test_lanes_hold_every_suite_once_and_are_about_equal(costs: list[int]) -> None:
    suites = [suite(f"s{number}", minutes, "Monday") for number, minutes in enumerate(costs)]
    minutes = {each.name: each.minutes for each in suites}
    first, second = lanes(suites)
    assert sorted([*first, *second]) == sorted(minutes)
    longer, shorter = (sum(minutes[name] for name in lane) for lane in (first, second))
    assert abs(longer - shorter) <= max(costs, default=0)


def test_the_log_has_a_line_for_every_suite_and_says_loudly_what_is_left_out() -> None:
    given = rules(suite("a", 15, "Monday"), suite("b", 10, "Friday"), suite("c", 9, "Monday"))
    before = commit(MONDAY - timedelta(3), "docs/")
    lines = describe(
        given,
        choose(given, MONDAY, ["b/x"], {"b": before.time.date()}),
        {"b": before},
        MONDAY,
    )
    assert [line.split(":")[0] for line in lines[:4]] == ["test", "a", "c", "b"]
    assert "runs now: its turn (Monday) [15 min; never due before" in lines[1]
    assert "DOES NOT RUN: b/ changed, but only -4 minutes" in lines[3]
    assert f"last due {before}; next turn Friday 2026-12-04]" in lines[3]
    assert "24 of 20 minutes" in lines[4]
    assert "THEY DO NOT RUN: b." in lines[5]
    assert len(lines) == 6


@pytest.mark.parametrize("each", RULES.suites, ids=lambda each: each.name)
def test_every_suite_is_declared_as_it_is(each: Suite) -> None:
    assert set(each.weekdays) <= set(WEEKDAYS)
    targets = re.findall(r"^([\w -]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert each.name in " ".join(targets).split()
    for folder in each.folders:
        path = REPOSITORY / folder
        assert path.is_dir() if folder.endswith("/") else path.is_file(), folder


def test_every_folder_of_the_product_is_covered_by_a_slow_suite() -> None:
    folders = [*(REPOSITORY / "pipeline").iterdir(), REPOSITORY / "encoders", REPOSITORY / "dags"]
    for path in folders:
        if path.is_dir() and path.name != "__pycache__":
            inside = f"{path.relative_to(REPOSITORY)}/x.py"
            assert any(each.touched_folder([inside]) for each in RULES.suites), inside


def test_the_crash_suite_plays_each_quarter_of_its_cases_in_any_two_weeks() -> None:
    """`.ci/run` takes the quarter from the half of the week since 1970."""
    (crash,) = (each for each in RULES.suites if each.name == "crash")
    for start in range(28):
        days = [MONDAY + timedelta(start + n) for n in range(14)]
        turns = [(day - date(1970, 1, 1)).days for day in days if crash.has_turn(day)]
        assert {2 * day // 7 % 4 for day in turns} == {0, 1, 2, 3}
