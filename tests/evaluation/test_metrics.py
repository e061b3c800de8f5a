"""Extraction and scores on strings graded by hand, and the statistics over them."""

from __future__ import annotations

import pytest

from evaluation.base import Item
from evaluation.bbh import extract, plain
from evaluation.codex import pass_at_k
from evaluation.gsm8k import GSM8K, last_number
from evaluation.statistics import mean_and_error
from evaluation.text_metrics import best_f1, token_f1


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 18", "18"),
        ("The answer is $18.", "18"),
        ("so $1,800.00.", "1800"),
        ("it was 9.0", "9"),
        ("-5 degrees", "-5"),
        ("5-3", "3"),
        ("from 3 to -3.5 now", "-3.5"),
        ("10 000", "0"),
        ("12,345,678 in all", "12345678"),
        ("3.", "3"),
        (".5 of it", "0.5"),
        ("1,", "1"),
    ],
)
def test_last_number(text: str, number: str) -> None:
    from decimal import Decimal

    assert last_number(text) == Decimal(number)


def test_no_number_is_wrong_and_not_equal_to_nothing() -> None:
    assert last_number("none at all") is None
    item = Item("1", "", "7", "")
    assert GSM8K().score(item, "none") == 0
    assert GSM8K().score(item, "90") == 0
    assert GSM8K().score(Item("1", "", "9", ""), "9.0") == 1


@pytest.mark.parametrize(
    ("output", "target", "score"),
    [
        ("So the answer is True", "True", 1),
        ("So the answer is (A)", "(A)", 1),
        ("So the answer is True. Q: more? the answer is False", "True", 1),
        ("True", "True", 1),
        ("Blank line.\n\nSo the answer is (B).", "(B)", 1),
        ("The answer is no.", "No", 1),
        ("So the answer is -50.", "-50", 1),
        ("So the answer is 50.", "-50", 0),
        ("So the answer is ] ).", "] )", 1),
        ("So the answer is ] >.", "] )", 0),
        ("So the answer is Monsters, Inc.", "Monsters, Inc", 1),
        ("So the answer is 3.5.", "3.5", 1),
        ("", "No", 0),
    ],
)
def test_bbh_extraction(output: str, target: str, score: float) -> None:
    assert float(plain(extract(output)) == plain(target)) == score


def test_f1() -> None:
    assert token_f1("The Lazy dog!", "a lazy dog") == 1
    assert token_f1("big red bus", "red bus stop sign") == pytest.approx(2 * 2 / 7)
    assert token_f1("", "x") == 0
    assert (token_f1("A", "a"), token_f1("b", "a")) == (1, 0)
    assert best_f1("in Italy", ["Rome", "Italy", "in Italy"]) == 1


def test_pass_at_k() -> None:
    assert pass_at_k(10, 1, 10) == 1
    assert pass_at_k(10, 0, 10) == 0
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    assert pass_at_k(4, 2, 2) == pytest.approx(1 - 1 / 6)
    assert pass_at_k(2, 1, 10) == 1


def test_mean_and_error() -> None:
    mean, error = mean_and_error([1, 0, 1, 0], [""] * 4, "items")
    assert (mean, error) == (50, pytest.approx(100 * (1 / 3) ** 0.5 / 2))
    mean, error = mean_and_error([1, 1, 0, 1, 0, 1], list("aabbbb"), "groups")
    assert mean == 75
    assert error == pytest.approx(100 * (0 + (1 / 3) / 4) ** 0.5 / 2)
    assert mean_and_error([1], ["a"], "items") == (100, None)
    assert mean_and_error([1, 0], ["a", "b"], "groups") == (50, pytest.approx(50))


def test_errors_are_clustered_by_what_items_share() -> None:
    """Eight articles, half of them all right: four items each add nothing to one."""
    clusters = [name for name in "abcdefgh" for _ in range(4)]
    values = [float(name < "e") for name in clusters]
    mean, error = mean_and_error(values, clusters, "items", clusters)
    assert (mean, error) == (50, pytest.approx(100 * (8 / 7 * 8 * 0.0625**2) ** 0.5))
    assert error == pytest.approx(mean_and_error(values[::4], clusters[::4], "items")[1])
    assert mean_and_error(values, clusters, "groups", clusters)[1] == pytest.approx(error)
    # Seven say too little of their own spread: then items count as independent.
    few, same = values[:28], clusters[:28]
    assert mean_and_error(few, same, "items", same) == mean_and_error(few, same, "items")
