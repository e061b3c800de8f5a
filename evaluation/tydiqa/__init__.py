"""TyDi QA, gold passage: questions on a passage in nine languages, F1 (paper E.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from evaluation.base import Benchmark, Grades, Grading, Item
from evaluation.source import DataError, Source, read_hub, read_json, read_jsonl
from evaluation.squad.format import answer_texts, read_squad
from evaluation.text_metrics import best_f1
from evaluation.tydiqa.languages import LANGUAGES
from harness.query import Query

_REMEDY = (
    "TyDi QA is tydiqa/one-shot.json (a demonstration per language) and tydiqa/<language>-dev."
    "jsonl.gz or the release's tydiqa-goldp-v1.1-dev.json, from github.com/google-research-datasets"
)
RELEASE = "tydiqa-goldp-v1.1-dev.json"
HOME = "https://github.com/google-research-datasets/tydiqa (gold passage task)"
# Questions of each language in that file, 5,077 in all.
RELEASED = {
    "arabic": 921, "bengali": 113, "english": 440, "finnish": 782, "indonesian": 565,
    "korean": 276, "russian": 812, "swahili": 499, "telugu": 669,
}  # fmt: skip
# The demonstrations in one-shot.json, which are training questions of the release.
SHOT_IDS = frozenset(
    {
        "arabic-8351649714847405776-0", "bengali--1673457935685231953-2",
        "english--2241320068429927714-0", "finnish-869940681011188970-16",
        "indonesian--7112565968699695234-0", "korean-5259095402185878855-0",
        "russian-8439185404748145887-1", "swahili-608099184454860095-20",
        "telugu--1689521902545555601-0",
    }
)  # fmt: skip
_STAND_INS = {"english": "xquad/xquad.en.json.gz", "russian": "xquad/xquad.ru.json.gz"}


class TyDiQA(Benchmark):
    """Extraction in the languages that the data holds; unweighted mean over languages.

    Queries: the one demonstration of each language, which is also the shot. ``stand_in: xquad``
    fills languages that the folder lacks from XQuAD (Russian and English); the notes of the score
    say which languages came from where, since such a score is not TyDi QA's. Passages are cut to
    ``passage_words`` blank-separated words; the paper cuts at 512 tokens, which would let the
    tokenizer decide what is asked.
    """

    name: ClassVar[str] = "tydiqa"
    metric: ClassVar[str] = "f1"
    average: ClassVar[Literal["items", "groups"]] = "groups"
    prompt_version: ClassVar[int] = 2

    hub: str = "google-research-datasets/tydiqa"
    shots: Literal[0, 1] = 1
    stand_in: Literal["xquad"] | None = None
    passage_words: int = Field(350, ge=1)
    max_new_tokens: int = Field(50, ge=1)

    def files(self, source: Source) -> dict[str, Path]:
        """Demonstrations and each language's file; see ``_sources``."""
        found = {"tydiqa/one-shot.json": source.file("tydiqa/one-shot.json", _REMEDY)}
        for path in self._sources(source).values():
            found[f"{path.parent.name}/{path.name}"] = path
        return found

    def items(self, source: Source) -> list[Item]:
        """All languages' questions, by language; ``target`` holds all accepted answers."""
        shots = self._demonstrations(source) if self.shots else {}
        return [
            Item(
                id=f"{row['language']}/{row['id']}",
                prompt=self._prompt(row, shots.get(row["language"])),
                prefix=LANGUAGES[row["language"]].answer,
                target=row["answers"],
                text=f"{row['context']} {row['question']}",
                group=row["language"],
            )
            for row in self._rows(source)
        ]

    def queries(self, source: Source) -> list[Query]:
        """One demonstration per language, without shots; the label is the first answer."""
        return [
            Query(
                id=f"{language}/shot",
                task=self.name,
                prompt=self._prompt(row, None),
                prefix=LANGUAGES[language].answer,
                label=row["answers"][0],
            )
            for language, row in sorted(self._demonstrations(source).items())
        ]

    def query_text(self, query: Query) -> str:
        """Passage and question, without the localised words."""
        words = LANGUAGES[query.id.partition("/")[0]]
        text = query.prompt.removeprefix(f"{words.instruction}\n\n{words.passage} ")
        return " ".join(text.rsplit(f"\n{words.question} ", 1))

    def score(self, item: Item, output: str) -> float:
        """The best token F1 over the accepted answers."""
        return best_f1(output, item.target)

    def grade(self, items: Sequence[Item], outputs: Sequence[list[str]], how: Grading) -> Grades:
        """F1 of all items, with the languages and which of them are stand-ins in the notes."""
        grades = super().grade(items, outputs, how)
        languages = sorted({item.group for item in items})
        grades.notes["languages"] = languages
        stand_ins = sorted({item.group for item in items if "/xquad." in item.id})
        if stand_ins:
            grades.notes["stand_ins"] = {language: "xquad" for language in stand_ins}
        if set(languages) != set(LANGUAGES):
            grades.notes["missing_languages"] = sorted(set(LANGUAGES) - set(languages))
        return grades

    def gaps(self, source: Source) -> list[str]:
        """Languages, and questions of a language, that the data lack; for the check of data."""
        counts = Counter(row["language"] for row in self._rows(source) if "/" not in row["id"])
        missing = [language for language in LANGUAGES if language not in counts]
        short = [language for language in counts if counts[language] != RELEASED[language]]
        where = self.hub if source.is_hub else f"{source.folder}/tydiqa"
        found = []
        if missing:
            sizes = ", ".join(f"{language} ({RELEASED[language]})" for language in missing)
            found.append(
                f"questions of {len(missing)} of 9 languages: {sizes}. Looked for {RELEASE} and "
                f"<language>-dev.jsonl[.gz] in {where}. Get {RELEASE} from "
                f"{HOME} and put it there"
            )
        for language in short:
            found.append(
                f"{language}: {counts[language]} questions, where the release has "
                f"{RELEASED[language]}. Looked in {where}. Get {RELEASE} from {HOME}"
            )
        if found and self.stand_in and not source.is_hub:
            names = [name for name in self._sources(source) if name in missing]
            found[0] += f"; XQuAD stands in for {' and '.join(names)}" * bool(names)
        return found

    def _prompt(self, row: dict[str, Any], shot: dict[str, Any] | None) -> str:
        words = LANGUAGES[row["language"]]
        parts = [words.instruction, ""]
        for shown in [shot, row] if shot else [row]:
            passage = shown["context"].split(" ")
            text = " ".join(passage[: self.passage_words])
            parts += [f"{words.passage} {text.strip()}", f"{words.question} {shown['question']}"]
            if shown is shot:
                parts += [f"{words.answer} {shown['answers'][0]}", ""]
        return "\n".join(parts)

    def _demonstrations(self, source: Source) -> dict[str, dict[str, Any]]:
        if source.is_hub:
            rows = read_hub(self.hub, "train", name="secondary_task", revision=self.revision)
            shots: dict[str, dict[str, Any]] = {}
            # The demonstrations of one-shot.json; the first question where one is not there.
            for row in sorted(rows, key=lambda row: (row["id"] not in SHOT_IDS, str(row["id"]))):
                language = str(row["id"]).partition("-")[0]
                shots.setdefault(language, _row(row, language))
            return shots
        shown = read_json(source.file("tydiqa/one-shot.json", _REMEDY))
        return {language: _row(rows[0], language) for language, rows in shown.items()}

    def _rows(self, source: Source) -> list[dict[str, Any]]:
        if source.is_hub:
            rows = read_hub(self.hub, "validation", name="secondary_task", revision=self.revision)
            return [_row(row, str(row["id"]).partition("-")[0]) for row in rows]
        result = []
        for language, path in self._sources(source).items():
            if path.name.startswith("xquad."):
                # The file's name stays in the id, so that a stand-in can be told apart.
                rows = [{**row, "id": f"{path.stem}/{row['id']}"} for row in read_squad(path)]
            elif path.name.endswith((".jsonl", ".jsonl.gz")):
                rows = read_jsonl(path)
            else:
                rows = [row for row in read_squad(path) if row["id"].startswith(f"{language}-")]
            result += [_row(row, language) for row in rows]
        return result

    def _sources(self, source: Source) -> dict[str, Path]:
        """The file of each language: the release, else <language>-dev, else the stand-in."""
        release = sorted(source.folder.glob("tydiqa/tydiqa-goldp-v1.1-dev.json*"))  # type: ignore
        if release:
            return dict.fromkeys(LANGUAGES, release[0])
        single = source.folder.glob("tydiqa/*-dev.jsonl*")  # type: ignore
        found = {path.name.partition("-")[0]: path for path in sorted(single)}
        for language in found:
            if language not in LANGUAGES:
                raise DataError(
                    f"{found[language]}: {language!r} is none of TyDi QA's languages; "
                    f"allowed: {', '.join(LANGUAGES)}"
                )
        if self.stand_in == "xquad":
            for language, name in _STAND_INS.items():
                if language not in found:
                    found[language] = source.file(name, _REMEDY)
        if not found:
            source.files("tydiqa/*-dev.jsonl*", _REMEDY)
        return {language: found[language] for language in LANGUAGES if language in found}


def _row(row: dict[str, Any], language: str) -> dict[str, Any]:
    if language not in LANGUAGES:
        raise DataError(f"tydiqa: row {row['id']} is in {language!r}, which is not among the nine")
    return {
        "id": str(row["id"]),
        "language": language,
        "context": row["context"].strip(),
        "question": row["question"].strip(),
        "answers": answer_texts(row["answers"]),
    }
