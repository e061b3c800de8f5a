"""What a form is: from one record of a source to the conversations that it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from harness.chat import Message
from harness.component import Component
from harness.rows import BadRow

Record = Mapping[str, Any]
Folders = Callable[[str], Path]  # from a repository's name to the folder with its files
Convert = Callable[[Record], list[list[Message]]]


class Form(Component):
    """How the records of a source are written.

    Attributes:
        where: only the records in which these fields have one of the values given; a value that
            ends in ``*`` stands for all that begin so.
    """

    where: dict[str, list[str]] = Field(default_factory=dict)

    def converter(self, folders: Folders) -> Convert:
        """The function that turns a record into conversations (none, if ``where`` says so)."""

        def convert(record: Record) -> list[list[Message]]:
            return self.conversations(record) if self.wanted(record) else []

        return convert

    def conversations(self, record: Record) -> list[list[Message]]:
        """The conversations of a record.

        Raises:
            BadRow: it is not of this form.
        """
        raise NotImplementedError

    def wanted(self, record: Record) -> bool:
        """Whether ``where`` holds."""
        return all(
            any(_matches(str(record.get(field, "")), value) for value in values)
            for field, values in self.where.items()
        )


def _matches(value: str, pattern: str) -> bool:
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


def text(record: Record, field: str) -> str:
    """A field that must be text."""
    value = record.get(field)
    if not isinstance(value, str):
        raise BadRow(f"the field {field} is no text; there are {', '.join(map(str, record))}")
    return value


def first_text(record: Record, fields: list[str]) -> str:
    """The first of the fields that is not blank."""
    for field in fields:
        value = record.get(field)
        if isinstance(value, str) and value.strip():
            return value
    return text(record, fields[-1])


def turn(role: str, content: str) -> Message:
    """One message."""
    return {"role": role, "content": content}
