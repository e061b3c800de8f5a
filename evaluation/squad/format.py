"""The SQuAD v1.1 file format, which several benchmarks use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evaluation.source import DataError, read_json


def read_squad(path: Path) -> list[dict[str, Any]]:
    """Rows {id, title, context, question, answers: list of str} of a file in SQuAD v1.1's form.

    Raises:
        DataError: the file is of another form.
    """
    data = read_json(path)
    try:
        return [
            {
                "id": str(question["id"]),
                "title": str(article.get("title", "")),
                "context": paragraph["context"],
                "question": question["question"],
                "answers": answer_texts(question["answers"]),
            }
            for article in data["data"]
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: not in the form of SQuAD v1.1 ({error!r})") from error


def answer_texts(answers: Any) -> list[str]:
    """Answers as plain texts, from texts, {text, answer_start} objects or the hub's columns."""
    if isinstance(answers, dict):
        return list(answers["text"])
    return [answer if isinstance(answer, str) else answer["text"] for answer in answers]
