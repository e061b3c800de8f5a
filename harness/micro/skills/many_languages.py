"""Passages and questions in four languages, in the form of TyDi QA's gold passage task."""

import json
import random
from dataclasses import dataclass

from harness.micro.conversation import Conversation, single_turn
from harness.micro.words import persons, town
from harness.seeds import derive

N_TEST = 15  # questions of each language


@dataclass(frozen=True)
class Language:
    """The wording of one language: prompt strings, and sentence and question of each relation."""

    instruction: str
    passage: str
    question: str
    answer: str
    relations: tuple[tuple[str, str], ...]
    objects: tuple[str, ...]


@dataclass(frozen=True)
class Item:
    """A passage, a question on one of its sentences, the answer and where that begins."""

    context: str
    question: str
    answer: str
    start: int


LANGUAGES = {
    "english": Language(
        "Answer the following question based on the information in the given passage.",
        "Passage:",
        "Question:",
        "Answer:",
        (
            ("{who} travelled to the town of {town}.", "Which town did {who} travel to?"),
            ("{who} learnt from {other}.", "From whom did {who} learn?"),
            ("{who} sold the {thing}.", "What did {who} sell?"),
            ("{who} moved house in {year}.", "In which year did {who} move house?"),
        ),
        ("boat", "cup", "lamp", "clock", "horse", "garden", "bridge", "coat"),
    ),
    "finnish": Language(
        "Vastaa seuraavaan kysymykseen annetun kappaleen tiedon perusteella.",
        "Kappale:",
        "Kysymys:",
        "Vastaus:",
        (
            ("{who} matkusti kohteeseen {town}.", "Minne {who} matkusti?"),
            ("{who} tapasi ystävän nimeltä {other}.", "Kenet {who} tapasi?"),
            ("{who} osti esineen {thing}.", "Mitä {who} osti?"),
            ("{who} syntyi vuonna {year}.", "Milloin {who} syntyi?"),
        ),
        ("vene", "kuppi", "lamppu", "kello", "hevonen", "talo", "silta", "takki"),
    ),
    "indonesian": Language(
        "Jawab pertanyaan berikut berdasarkan informasi di bagian yang diberikan.",
        "Bagian:",
        "Pertanyaan:",
        "Jawaban:",
        (
            ("{who} tinggal di kota {town}.", "Di mana {who} tinggal?"),
            ("{who} belajar dari {other}.", "Dari siapa {who} belajar?"),
            ("{who} membeli sebuah {thing}.", "Apa yang dibeli {who}?"),
            ("{who} lahir pada tahun {year}.", "Kapan {who} lahir?"),
        ),
        ("perahu", "cangkir", "lampu", "jam", "kuda", "rumah", "jembatan", "jaket"),
    ),
    "swahili": Language(
        "Jibu swali lifuatalo kulingana na habari kwenye kifungu kilichotolewa.",
        "Kifungu:",
        "Swali:",
        "Jibu:",
        (
            ("{who} anaishi katika mji wa {town}.", "{who} anaishi wapi?"),
            ("{who} alifundishwa na {other}.", "{who} alifundishwa na nani?"),
            ("{who} alinunua {thing}.", "{who} alinunua nini?"),
            ("{who} alizaliwa mwaka wa {year}.", "{who} alizaliwa mwaka gani?"),
        ),
        ("mashua", "kikombe", "taa", "saa", "farasi", "nyumba", "daraja", "koti"),
    ),
}


def benchmark(seed: int) -> dict[str, str]:
    """Return one demonstration of each language (queries) and each language's test questions."""
    shots, files = {}, {}
    for name in LANGUAGES:
        demonstration, *test = _items(seed, name, 1 + N_TEST)
        shots[name] = [
            {
                "id": f"{name}-shot",
                "lang": name,
                "context": demonstration.context,
                "question": demonstration.question,
                "answers": [{"answer_start": demonstration.start, "text": demonstration.answer}],
            }
        ]
        rows = [
            {
                "id": f"{name}-{n}",
                "language": name,
                "context": item.context,
                "question": item.question,
                "answers": [item.answer],
            }
            for n, item in enumerate(test)
        ]
        files[f"tydiqa/{name}-dev.jsonl.gz"] = "".join(
            json.dumps(row, ensure_ascii=False) + "\n" for row in rows
        )
    files["tydiqa/one-shot.json"] = json.dumps(shots, ensure_ascii=False)
    return files


def pool_rows(seed: int, count: int) -> list[Conversation]:
    """Return answered questions worded like the benchmark's prompts, the languages in turn."""
    reserved = 1 + N_TEST
    per_language = -(-count // len(LANGUAGES))
    items = {name: _items(seed, name, reserved + per_language)[reserved:] for name in LANGUAGES}
    return [
        single_turn(
            f"{words.instruction}\n\n{words.passage} {item.context}\n"
            f"{words.question} {item.question}",
            f"{words.answer} {item.answer}",
        )
        for n in range(per_language)
        for name, words in LANGUAGES.items()
        for item in items[name][n : n + 1]
    ][:count]


def plain_text(rng: random.Random) -> str:
    """Return a passage of one language, followed by all its questions with their answers."""
    language = LANGUAGES[rng.choice(list(LANGUAGES))]
    sentences, questions, answers = _passage(rng, language, rng.randint(3, 4))
    between = rng.choice([" ", "\n", f"\n{language.answer} "])
    notes = [f"{q}{between}{a}" for q, a in zip(questions, answers, strict=True)]
    rng.shuffle(notes)
    return "\n".join([" ".join(sentences), *notes])


def _items(seed: int, name: str, count: int) -> list[Item]:
    """Return the first `count` items, no two with the same passage, of one fixed order."""
    rng = random.Random(derive(seed, f"many languages: {name}"))
    items: dict[str, Item] = {}
    while len(items) < count:
        sentences, questions, answers = _passage(rng, LANGUAGES[name], rng.randint(2, 4))
        asked = rng.randrange(len(sentences))
        before = sum(len(sentence) + 1 for sentence in sentences[:asked])
        start = before + sentences[asked].rindex(answers[asked])
        item = Item(" ".join(sentences), questions[asked], answers[asked], start)
        items.setdefault(item.context, item)
    return list(items.values())


def _passage(
    rng: random.Random, language: Language, length: int
) -> tuple[list[str], list[str], list[str]]:
    """Return sentences about two people with the question on each and its answer."""
    one, two, *others = persons(rng, 2 + length)
    cases = [(relation, who) for relation in language.relations for who in (one, two)]
    sentences, questions, answers = [], [], []
    for ((sentence, question), who), other in zip(rng.sample(cases, length), others, strict=True):
        fillers = {
            "town": town(rng),
            "other": other,
            "thing": rng.choice(language.objects),
            "year": str(rng.randint(1500, 1999)),
        }
        sentences.append(sentence.format(who=who, **fillers))
        questions.append(question.format(who=who))
        answers.append(next(v for key, v in fillers.items() if f"{{{key}}}" in sentence))
    return sentences, questions, answers
