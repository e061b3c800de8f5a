"""Instruction, input and output: Alpaca's fields, Dolly's under other names.

Deviation from the paper's scripts: those put every row into one of 28 prompt templates drawn by
weight; here instruction and input are joined by a blank line. Rows that differ in nothing but the
template are duplicates here and were not there, so these sources can come out some rows smaller.
"""

from __future__ import annotations

from typing import Literal

from harness.chat import Message
from harness.pool.sources.base import Form, Record, text, turn


class Instruction(Form):
    """The fields of the instruction, of what it is about (may be blank), and of the answer."""

    form: Literal["instruction"] = "instruction"
    instruction: str = "instruction"
    input: str = "input"
    output: str = "output"

    def conversations(self, record: Record) -> list[list[Message]]:
        """One conversation."""
        about = record.get(self.input)
        parts = [text(record, self.instruction).strip()]
        if isinstance(about, str) and about.strip():
            parts.append(about.strip())
        answer = text(record, self.output).strip()
        return [[turn("user", "\n\n".join(parts)), turn("assistant", answer)]]
