"""Scores of strings graded by hand, one table a scorer; the comment says who else grades otherwise.

"stock" is lm-eval 0.4.13's own task, "paper" the paper's script.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest

from evaluation.base import Item
from evaluation.bbh import BBH
from evaluation.gsm8k import GSM8K
from evaluation.mmlu import MMLU
from evaluation.source import Source
from evaluation.squad import SQuAD
from evaluation.text_metrics import token_f1
from evaluation.tydiqa import TyDiQA

GSM8K_STRINGS = [
    ("The answer is 18", "18", 1),  # stock strict: 1
    ("The answer is $18.", "18", 1),  # stock strict: nothing found
    ("So she earns $1,800.00.", "1800", 1),  # stock, paper: 1800.00 is not 1800
    ("It is 9.0 metres", "9", 1),  # paper: 90
    ("It is 9.0 metres", "90", 0),  # paper: right
    ("So the answer is -10.", "-10", 1),
    ("So the answer is −10.", "-10", 1),  # the minus sign; paper: 10 is -10
    ("So the answer is 10.", "-10", 0),  # paper: right
    ("It is 5-3", "3", 1),
    ("between 10-12", "12", 1),
    ("x=-4", "-4", 1),
    ("1,234,567 in all", "1234567", 1),
    ("1000", "1,000", 1),
    ("They are 1,2", "12", 0),  # paper: right, commas between digits go
    ("They are 1,2,3", "3", 1),
    ("\\boxed{18}", "18", 1),
    ("**18**", "18", 1),
    ("18% of it", "18", 1),
    ("a half, .5", "0.5", 1),
    ("3.50", "3.5", 1),
    ("018", "18", 1),
    ("First 18. Then, at last, 7", "18", 0),  # the rule is the last number
    ("18.\n\nQuestion: Tom has 7 apples.", "18", 0),  # the same, as in the paper: nothing stops it
    ("eighteen", "18", 0),
    ("", "0", 0),
]

BBH_STRINGS = [
    ("So the answer is True", "True", 1),  # stock: Tru
    ("So the answer is (A)", "(A)", 1),  # stock: (A
    ("So the answer is (A).", "(A)", 1),
    ("So the answer is (A).", "A", 1),
    ("So the answer is True. Q: more? the answer is False", "True", 1),  # stock: to the line's end
    ("Some lines.\n\nSo the answer is (B).", "(B)", 1),  # stock stops at a blank line
    ("Quite so: the answer is (B).", "(B)", 1),  # stock stops at a capital Q
    ("So the answer is (A). No, the answer is (B).", "(A)", 1),  # the first, as in the paper
    ("So the answer is (A). No, the answer is (B).", "(B)", 0),
    ("The answer isn't plain. So the answer is No.", "No", 1),
    ("THE ANSWER IS YES!", "Yes", 1),  # paper: needs a full stop, and "The" or "the"
    ("The answer is: (C)\nThat is all.", "(C)", 1),
    ("So the answer is\n(C)", "(C)", 1),
    ("So the answer is **Yes**.", "Yes", 1),
    ("So the answer is “No”.", "No", 1),  # paper: curly quotes stay
    ("So the answer is 3.5.", "3.5", 1),  # paper: 3
    ("So the answer is -50.", "-50", 1),
    ("So the answer is −50.", "-50", 1),
    ("So the answer is 50.", "-50", 0),  # paper: right
    ("So the answer is ] ) }.", "] ) }", 1),
    ("So the answer is ] ) >.", "] ) }", 0),  # paper: right, all punctuation goes
    ("So the answer is apple, pear, quince.", "apple pear quince", 1),
    ("apple pear quince", "apple pear quince", 1),  # all of the text where nothing is announced
    ("So the answer is (A) because it rains.", "(A)", 0),  # the paper's too: up to the full stop
    ("The correct answer is (A).", "(A)", 0),  # the paper's too: the words are fixed
    ("", "No", 0),
]

F1_STRINGS = [
    ("The Lazy dog!", ["a lazy dog"], 1),
    ("Saint Bernadette Soubirous", ["Saint Bernadette Soubirous"], 1),
    ("It was Saint Bernadette Soubirous.", ["Saint Bernadette Soubirous"], 3 / 4),
    ("big red bus", ["red bus stop sign"], 4 / 7),
    ("in Italy", ["Italy"], 2 / 3),
    ("in Italy", ["Rome", "Italy", "in Italy"], 1),
    ("dog dog", ["dog"], 2 / 3),
    ("Rome", ["Paris"], 0),
    ("", ["Paris"], 0),
    ("U.S.", ["US"], 1),
    ("O'Brien", ["obrien"], 1),
    ("twenty-one", ["twenty one"], 0),  # official: the hyphen goes, and what it parted is joined
    ("$5", ["5 dollars"], 2 / 3),
    ("theatre", ["atre"], 0),
    ("ÅLAND", ["åland"], 1),
    ("Rome\n\nWhere is Oslo?", ["Rome"], 2 / 5),  # official too: nothing is cut off
    ("القاهرة؟", ["القاهرة"], 0),  # official too: only ASCII signs go
    ("a Turku", ["Turku"], 1),  # official too: English articles go in every language
    ("The", ["the"], 1),  # official: 0, nothing is left to compare
    ("%", ["%"], 1),  # official: 0
    ("&", ["%"], 0),
]


@pytest.mark.parametrize(("output", "target", "grade"), GSM8K_STRINGS)
def test_gsm8k(output: str, target: str, grade: float) -> None:
    assert GSM8K().score(Item("1", "", target, ""), output) == grade


@pytest.mark.parametrize(("output", "target", "grade"), BBH_STRINGS)
def test_bbh(output: str, target: str, grade: float) -> None:
    assert BBH().score(Item("1", "", target, ""), output) == grade


@pytest.mark.parametrize(("output", "golds", "grade"), F1_STRINGS)
def test_f1(output: str, golds: list[str], grade: float) -> None:
    for benchmark in (SQuAD(), TyDiQA()):
        assert benchmark.score(Item("1", "", golds, ""), output) == pytest.approx(grade)


def test_f1_is_that_of_an_independent_scorer_on_plain_text() -> None:
    """lm-eval's TyDi QA task has SQuAD's F1 for English; on ASCII text both must agree."""
    utils = pytest.importorskip("lm_eval.tasks.tydiqa.utils")
    rng = random.Random(0)
    words = [
        "the",
        "a",
        "an",
        "Dublin,",
        "Ireland.",
        "1936",
        "U.S.",
        "red-hot",
        "(HBO)",
        "and",
        "%",
    ]
    for _ in range(500):
        output, gold = (" ".join(rng.choices(words, k=rng.randint(0, 5))) for _ in range(2))
        if utils.normalize_answer(gold, "en"):
            assert token_f1(output, gold) == pytest.approx(utils.f1_score(output, gold, "en"))


# Log-probabilities of " A" to " D", and the letter that is taken.
CHOICES = [
    ((-1.0, -2.0, -3.0, -4.0), "A"),
    ((-2.0, -1.0, -3.0, -4.0), "B"),
    ((-3.0, -2.0, -1.0, -4.0), "C"),
    ((-4.0, -3.0, -2.0, -1.0), "D"),
    ((-1.0, -1.0, -3.0, -4.0), "A"),  # a tie goes to the first
    ((-5.0, -4.0, -2.0, -2.0), "C"),
    ((-1.0, -1.0, -1.0, -1.0), "A"),
    ((-1.0, -0.9999999, -3.0, -4.0), "B"),  # no rounding
    ((-500.0, -501.0, -499.5, -502.0), "C"),  # all unlikely: still the likeliest of the four
    ((-math.inf, -math.inf, -math.inf, -3.0), "D"),
    ((0.0, -20.0, -20.0, -20.0), "A"),
]


def test_mmlu_takes_the_likeliest_letter() -> None:
    from lm_eval.evaluator import evaluate

    from evaluation.base import Grading
    from evaluation.check.asking import Scripted

    class Likelihoods(Scripted):
        def loglikelihood(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
            assert [request.args[1] for request in requests[:4]] == [" A", " B", " C", " D"]
            return [(CHOICES[request.doc_id][0][request.idx], False) for request in requests]

    for right in (True, False):
        targets = [letter if right else "ABCD"[("ABCD".index(letter) + 1) % 4]
                   for _, letter in CHOICES]  # fmt: skip
        items = [
            Item(str(n), "?", target, "?", prefix="The answer is:", choices=tuple("ABCD"))
            for n, target in enumerate(targets)
        ]
        task = MMLU().build_task(items, (), Source(None))
        task.how = Grading(None, None)  # type: ignore[arg-type]
        evaluate(Likelihoods({}), {"mmlu": task}, apply_chat_template=True, bootstrap_iters=0)
        assert task.grades.values == [float(right)] * len(CHOICES)
        assert [texts[0] for texts in task.outputs] == [letter for _, letter in CHOICES]
