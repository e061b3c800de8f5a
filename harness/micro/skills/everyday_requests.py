"""Open requests with a good answer for each, in the form of AlpacaEval."""

import json
import random
from collections.abc import Callable

from harness.micro.conversation import Conversation, single_turn
from harness.micro.words import COLOURS, FOODS, JOBS, NOUNS, PLACES, THINGS, person, with_article
from harness.seeds import derive

N_ITEMS = 110

Request = tuple[str, str]  # instruction, answer


def benchmark(seed: int) -> dict[str, str]:
    """Return the instructions with their reference answers; some are later kept as queries."""
    rows = [
        {"dataset": "micro", "instruction": asked, "output": answer, "generator": "reference"}
        for asked, answer in _requests(seed, N_ITEMS)
    ]
    return {"alpaca_eval/alpaca_eval.json": json.dumps(rows, indent=1)}


def pool_rows(seed: int, count: int) -> list[Conversation]:
    """Return answered requests of the benchmark's kinds."""
    return [single_turn(*request) for request in _requests(seed, N_ITEMS + count)[N_ITEMS:]]


def plain_text(rng: random.Random) -> str:
    """Return letters, verses, advice and descriptions, without the requests for them."""
    return "\n\n".join(rng.choice(KINDS)(rng)[1] for _ in range(3))


def _requests(seed: int, count: int) -> list[Request]:
    """Return the first `count` requests of one fixed order, no two the same."""
    rng = random.Random(derive(seed, "everyday requests"))
    requests: dict[str, Request] = {}
    while len(requests) < count:
        request = rng.choice(KINDS)(rng)
        requests.setdefault(request[0], request)
    return list(requests.values())


def _verse(rng: random.Random) -> Request:
    noun, colour = rng.choice(NOUNS), rng.choice(COLOURS)
    mood = rng.choice(["so soft and low", "so bright and slow"])
    return (
        rng.choice(
            [f"Write a verse about a {colour} {noun}.", f"Make a poem on a {colour} {noun}."]
        ),
        f"O {colour} {noun}, my {noun}, {mood},\nI see the {colour} {noun} wherever I go.",
    )


def _letter(rng: random.Random) -> Request:
    who, thing = person(rng), rng.choice(THINGS)
    close = rng.choice(["With warm thanks", "Yours as ever"])
    return (
        rng.choice([f"Thank {who} for the {thing}.", f"Write to {who} about the {thing} you got."]),
        f"Dear {who},\nthank you for the {thing}. I like the {thing} very much.\n{close}",
    )


def _advice(rng: random.Random) -> Request:
    job, place = rng.choice(JOBS), rng.choice(PLACES)
    third = rng.choice(["Rest at night.", "Drink water."])
    return (
        rng.choice(
            [f"Give tips to a {job} in the {place}.", f"What should a {job} do in the {place}?"]
        ),
        f"1. A good {job} learns the way of the {place}.\n2. Keep warm in the {place}.\n3. {third}",
    )


def _meal(rng: random.Random) -> Request:
    first, second = rng.sample(FOODS, 2)
    end = rng.choice(["Serve it hot.", "Eat it with friends."])
    return (
        rng.choice(
            [f"How do I cook {first} with {second}?", f"I want {first} and {second}. Help me."]
        ),
        f"Wash the {first}. Put the {second} in a pot and add the {first}. {end}",
    )


def _description(rng: random.Random) -> Request:
    thing, colour = rng.choice(THINGS), rng.choice(COLOURS)
    use = rng.choice(["It is old but strong.", "It is new and fine."])
    return (
        rng.choice(
            [f"Describe {with_article(colour)} {thing}.", f"Tell me of a {colour} {thing}."]
        ),
        f"The {thing} is {colour} all over. {use} People like a {colour} {thing}.",
    )


KINDS: tuple[Callable[[random.Random], Request], ...] = (
    _verse,
    _letter,
    _advice,
    _meal,
    _description,
)
