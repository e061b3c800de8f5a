"""The vocabulary of the made-up world: everyday nouns, and names put together from syllables."""

import random
from collections.abc import Callable


def listed(text: str) -> tuple[str, ...]:
    """Return the words of a text."""
    return tuple(text.split())


PERSON_STARTS = listed("Ka Lo Mi Ta Ro Se Vi Du Be No Ha Pe Zu Jo Wi Fa")
PERSON_ENDS = listed("len ra mo dis tar vin lu nek sia bor gan pel rit wen zo mas")
TOWN_STARTS = listed("Bor Nel Ash Tun Gar Hol Mor Win Cal Stan Fen Rus Lin Oak Del Kir")
TOWN_ENDS = listed("wick ford ham ton dale mere stad berg field port")

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
NUMBER_WORDS = listed("zero one two three four five six seven eight nine ten")


def person(rng: random.Random) -> str:
    """Return one of 256 personal names."""
    return rng.choice(PERSON_STARTS) + rng.choice(PERSON_ENDS)


def persons(rng: random.Random, count: int) -> list[str]:
    """Return `count` different personal names."""
    return _different(rng, count, person)


def town(rng: random.Random) -> str:
    """Return one of 160 names of towns."""
    return rng.choice(TOWN_STARTS) + rng.choice(TOWN_ENDS)


def towns(rng: random.Random, count: int) -> list[str]:
    """Return `count` different names of towns."""
    return _different(rng, count, town)


def _different(rng: random.Random, count: int, draw: Callable[[random.Random], str]) -> list[str]:
    names: list[str] = []
    while len(names) < count:
        name = draw(rng)
        if name not in names:
            names.append(name)
    return names


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
