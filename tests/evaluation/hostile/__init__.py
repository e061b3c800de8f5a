"""Programs that try to break out of the sandbox, pass without being right, or stay.

One file a program. Its first line says how it has to fail: a pattern of the verdict's reason. A
function that got what it wanted returns the right answer, ``2 * x``, and so passes. ``@NAMES@``
stand for what a program may know of the machine. To add one, add a file; what no file can hold is
in ``GENERATED``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evaluation.sandbox import Program

HERE = Path(__file__).parent
RIGHT = "def f(x):\n    return 2 * x\n"
PROMPT = "def f(x):\n    pass\n"
TEST = "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(5) == 10\n"

# Name -> (how it fails, the program).
GENERATED = {
    "text_nul_byte": ("null bytes", RIGHT + "\x00"),
    "text_nul_byte_inside": ("null bytes", RIGHT.replace("2", "2\x00")),
    "text_lone_surrogate": ("surrogates not allowed", RIGHT + "# \udc80"),
    "text_no_python": ("SyntaxError", "def f(x) return"),
    "text_empty": ("KeyError", ""),
    "text_markdown": ("SyntaxError", f"Here is the function:\n```python\n{RIGHT}```\n"),
    "text_fake_encoding": ("SyntaxError|KeyError|Lookup", "# coding: rot13\n\n\nqrs s(k): cnff"),
    "text_too_long": ("too long", RIGHT + "# " + "a" * (2 << 20)),
    "nesting_deep": (
        "SyntaxError|MemoryError|RecursionError|time is up",
        "def f(x):\n    return " + "(" * 50_000 + "2 * x" + ")" * 50_000,
    ),
    "nesting_unclosed": (
        "SyntaxError|MemoryError|time",
        "def f(x):\n    return " + "[" * 150 + "2 * x",
    ),
    "literal_huge_number": (
        "SyntaxError|time is up",
        f"def f(x):\n    return {'9' * 500_000} and 2 * x",
    ),
    "literal_huge_list": (
        "wrong answer|MemoryError|time is up",
        f"def f(x):\n    return [{'0,' * 400_000}] and None",
    ),
    "literal_huge_sum": (
        "RecursionError|MemoryError|the program ended|SyntaxError|time is up",
        f"def f(x):\n    return {'1+' * 200_000}2 * x",
    ),
    "literal_huge_dict": (
        "RecursionError|MemoryError|the program ended|SyntaxError|time is up",
        "def f(x):\n    return " + "{1:" * 20_000 + "0" + "}" * 20_000 + " and 2 * x",
    ),
    "literal_folded": (
        "MemoryError|time is up|too long|out of memory",
        "def f(x):\n    return ('a' * 4000) * 10**9 and 2 * x",
    ),
}


def corpus(facts: Mapping[str, str]) -> dict[str, tuple[str, Program]]:
    """Name -> (pattern of the reason, program), with ``@NAME@`` replaced by ``facts``."""
    found = dict(GENERATED)
    for path in sorted(HERE.glob("*.py")):
        if path.name != "__init__.py":
            first, code = path.read_text(encoding="utf-8").split("\n", 1)
            found[path.stem] = (first.removeprefix("# fails with: "), code)
    programs = {}
    for name, (pattern, code) in found.items():
        for fact, value in facts.items():
            code = code.replace(f"@{fact}@", value)
        programs[name] = (pattern, Program(code, PROMPT, TEST, "f"))
    return programs
