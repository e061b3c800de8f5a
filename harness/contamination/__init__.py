"""Contamination: rows of a pool that hold whole texts of the benchmarks that runs are scored on.

``texts`` says which texts a benchmark has, ``words`` what counts as the same text, ``index`` finds
them, ``found`` keeps what was found, counts it and leaves rows out. ``python -m
harness.contamination`` shows what is there; ``pool.contamination`` is the switch of a run.
"""

from harness.contamination.found import Found, Texts, remove, scan, texts_of
from harness.contamination.index import Detector, Index
from harness.contamination.texts import Text

__all__ = ["Detector", "Found", "Index", "Text", "Texts", "remove", "scan", "texts_of"]
