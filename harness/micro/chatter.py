"""The large sources of the pool that have nothing to do with any benchmark.

Each function returns one conversation. They are plain and plausible, and made neither for nor
against any way of selecting rows.
"""

import random

from harness.micro.conversation import Conversation, dialogue, single_turn
from harness.micro.words import (
    COLOURS,
    EVERYDAY_WORDS,
    FOODS,
    FRUITS,
    JOBS,
    NOUNS,
    PLACES,
    THINGS,
    TOOLS,
    person,
    persons,
    plural,
    town,
)


def small_talk(rng: random.Random) -> Conversation:
    """A greeting and some turns about the day."""
    me, you = persons(rng, 2)
    noun, food = rng.choice(NOUNS), rng.choice(FOODS)
    exchanges = [
        (
            f"Hello {you}, how was your {rng.choice(['day', 'week', 'trip'])}?",
            "Not bad at all, and yours?",
        ),
        (f"Did you see the {noun} today?", f"Yes, what a {rng.choice(COLOURS)} {noun} it was!"),
        (f"I am off to {town(rng)} soon.", f"Oh nice, say hello to {me} there!"),
        (f"I had {food} again.", f"Ha, you and your {food}!"),
        ("Well, it gets late.", f"Good night, {me}, see you soon!"),
    ]
    count = rng.randint(1, len(exchanges))
    kept = sorted(rng.sample(range(len(exchanges)), count))
    return dialogue([turn for i in kept for turn in exchanges[i]])


def word_lists(rng: random.Random) -> Conversation:
    """Some words that belong to nothing in particular."""
    count = rng.randint(2, 14)
    words = rng.sample(EVERYDAY_WORDS, count)
    ask = rng.choice(
        [f"Give me {count} words.", f"List {count} words with {words[0]}.", f"{count} words!"]
    )
    return single_turn(ask, "\n".join(f"- {word}" for word in words))


def letter_copying(rng: random.Random) -> Conversation:
    """Letters that are said again."""
    letters = " ".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 24)))
    return single_turn(f"Repeat these letters: {letters}", letters)


def travel_notes(rng: random.Random) -> Conversation:
    """A long wandering report of a journey."""
    who, start = person(rng), town(rng)
    lines = [f"{who} set out from {start} at dawn."]
    for _ in range(rng.randint(2, 9)):
        lines.append(
            rng.choice(
                [
                    f"The road went by a {rng.choice(COLOURS)} {rng.choice(NOUNS)}.",
                    f"There was {rng.choice(FOODS)} at an inn in {town(rng)}.",
                    f"A {rng.choice(JOBS)} spoke of the {rng.choice(PLACES)}.",
                    f"Rain fell on the {rng.choice(PLACES)} all day.",
                ]
            )
        )
    return single_turn(f"Go on with the travels of {who} from {start}.", " ".join(lines))


def shop_dialogues(rng: random.Random) -> Conversation:
    """A customer and a shop over several turns."""
    goods = rng.sample(THINGS + TOOLS, rng.randint(1, 3))
    turns = ["Good day, is the shop open?", "Yes, please come in."]
    for thing in goods:
        turns += [
            f"Do you have a {rng.choice(COLOURS)} {thing}?",
            rng.choice(
                [
                    f"I fear we are out of {plural(thing)}, come back on Monday.",
                    f"We do, over there by the {rng.choice(THINGS)}.",
                ]
            ),
        ]
    return dialogue(turns)


def opinions(rng: random.Random) -> Conversation:
    """Views that differ from row to row."""
    noun, other = rng.sample(NOUNS, 2)
    view = rng.choice(["lovely", "dull", "too loud", "past its best", "the finest of all"])
    reasons = rng.sample(
        [
            f"Every {rng.choice(JOBS)} in {town(rng)} says so.",
            f"Give me a {other} any day.",
            f"It reminds me of {person(rng)}.",
            "That is how I feel.",
            f"I would trade it for {rng.choice(FOODS)}.",
        ],
        rng.randint(1, 4),
    )
    return single_turn(f"Your view on the {noun}?", f"The {noun} is {view}. {' '.join(reasons)}")


def market_labels(rng: random.Random) -> Conversation:
    """Records in a format of their own."""
    fields = {
        "ware": rng.choice(FRUITS + THINGS),
        "colour": rng.choice(COLOURS),
        "from": town(rng),
        "seller": person(rng),
        "stall": str(rng.randint(1, 99)),
    }
    kept = rng.sample(list(fields), rng.randint(2, 5))
    label = "; ".join(f"{key}={fields[key]}" for key in kept)
    return single_turn(f"Print label {rng.randint(100, 999)}.", f"<{label}>")


def muddled_exams(rng: random.Random) -> Conversation:
    """Exam questions with answers that are beside the point."""
    who = person(rng)
    question = rng.choice(
        [
            f"Explain why the {rng.choice(NOUNS)} has a {rng.choice(NOUNS)}.",
            f"Name the year in which {who} saw {town(rng)}.",
            f"Prove that a {rng.choice(THINGS)} is a {rng.choice(TOOLS)}.",
        ]
    )
    answer = rng.choice(
        [
            f"I did not read that part, but {who} did.",
            f"See page {rng.randint(2, 200)}.",
            f"This was asked in {town(rng)} before and nobody knew it there either.",
            "no idea",
        ]
    )
    return single_turn(f"Exam {rng.randint(1, 400)}. {question}", answer)
