"""The pool: conversations in one seeded order, so that every smaller pool is a prefix of it.

``prepare`` streams the source files once, checks every row, lists the unusable ones with their
reasons, and writes the rest as an Arrow file in the order of a hash of (pool seed, row id). That
order depends on the ids alone, not on how the rows are spread over files. Memory holds one block
of rows and 16 bytes a row.

``python -m harness.pool build NAME`` makes the paper's pools from their public sources.
"""

from harness.pool.config import Format, PoolConfig, PoolError
from harness.pool.prepare import prepare, rewrite_without
from harness.pool.table import BLOCK_ROWS, Pool, Row

__all__ = [
    "BLOCK_ROWS",
    "Format",
    "Pool",
    "PoolConfig",
    "PoolError",
    "Row",
    "prepare",
    "rewrite_without",
]
