"""The vocabulary of the made-up world: everyday nouns, and short names."""

import random


def listed(text: str) -> tuple[str, ...]:
    """Return the words of a text."""
    return tuple(text.split())


PERSONS = listed(
    "Kal Kim Kor Lan Les Liv Mas Mel Mik Tam Tes Tor Ras Ren Rik Ros Sam Sel Sim Sol Van Vek Vik "
    "Vor Dan Dek Dov Bas Ben Bor Nat Nel Nik Nor Hal Hek Hov Pas Pel Pim Zan Zek Zor Jas Jem Jon "
    "Wat Wes Wim Fal Fen Fin Gat Gel Gor Yan Yel Yor"
)
TOWNS = listed(
    "Asby Belt Bruk Carn Dale Delf Erst Fald Garn Hamm Holt Irst Kast Kirk Lund Mard Mest Nord "
    "Oxby Pern Rast Roth Sand Skag Tarn Vald Vest Wold Yark Zell"
)

COLOURS = listed("red blue green white black yellow brown grey pink gold")
THINGS = listed("boat cup hat drum lamp box chair bell book clock ring coat")
FRUITS = listed("apple pear plum peach lemon melon cherry fig grape mango")
TOOLS = listed("hammer saw spade rake brush rope nail wrench axe drill")
FOODS = listed("bread soup rice fish cheese beans eggs honey nuts cake")
JOBS = listed("baker farmer teacher doctor painter singer driver guard cook sailor")
PLACES = listed("marsh forest desert valley hill river cave meadow island swamp")
NOUNS = listed(
    "moon star rain wind snow fire tree leaf stone bird cloud sea road door wall "
    "field house bridge garden winter summer night morning song dream"
)
EVERYDAY_WORDS = COLOURS + THINGS + FRUITS + TOOLS + FOODS + JOBS + PLACES + NOUNS
NUMBER_WORDS = listed("zero one two three four five six seven eight nine ten")


def person(rng: random.Random) -> str:
    """Return the name of a person."""
    return rng.choice(PERSONS)


def persons(rng: random.Random, count: int) -> list[str]:
    """Return the names of `count` different persons."""
    return rng.sample(PERSONS, count)


def town(rng: random.Random) -> str:
    """Return the name of a town."""
    return rng.choice(TOWNS)


def plural(noun: str) -> str:
    """Return the English plural of one of this file's nouns."""
    if noun.endswith(("ch", "sh", "s", "x")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def with_article(noun: str) -> str:
    """Put "a" or "an" before a noun."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun
