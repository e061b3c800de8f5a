"""Texts as words: what counts as the same text when a benchmark is looked for in a pool.

Case, punctuation and white space do not count; letters and digits do, in the order they stand.
Scripts that are written without blanks (Chinese, Japanese, Korean, Thai, ...) give a word a
character, so that a length in words means something there too.
"""

from __future__ import annotations

import re
import unicodedata

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_ASCII = "".join(chr(code) if chr(code).isalnum() else " " for code in range(128)).lower()


def words(text: str) -> list[str]:
    """The words of a text: lower case, compatible characters made one (NFKC), no punctuation."""
    if text.isascii():
        return text.translate(_ASCII).split()
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())
