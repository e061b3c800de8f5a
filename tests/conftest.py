"""Shared fixtures: the embedded world, its model, and small pools written by hand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from harness.artifacts import Store
from harness.micro_data import data_folder, model_folder
from harness.model import ModelConfig
from harness.pool import Pool, PoolConfig, prepare

# Files that take longest, with few tests: begun first, so that no worker waits for the other.
LONG = (
    "test_run", "test_training", "test_warmup_costs", "test_experiments", "test_paper_experiments",
    "test_notebooks", "test_paper", "test_flops_shapes", "test_page", "test_plan",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in LONG)  # a stable sort


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated pool and benchmarks."""
    return data_folder(Store(tmp_path_factory.mktemp("world")))


@pytest.fixture(scope="session")
def micro_model() -> ModelConfig:
    return ModelConfig(name="micro", path=str(model_folder()))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def conversation(*turns: str) -> list[dict[str, str]]:
    """A conversation whose turns alternate, the user first."""
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)]


MakePool = Callable[..., Pool]


@pytest.fixture
def make_pool(tmp_path: Path, store: Store) -> MakePool:
    """Writes rows (dicts) to a JSONL file and opens them as a pool."""

    def make(rows: list[dict[str, Any]], **settings: Any) -> Pool:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        config = PoolConfig(name="test", path=str(path), **settings)
        return prepare(config, store, progress=False)

    return make


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real pool and benchmarks, where they lie beside the project."""
    named = os.environ.get("WINNOW_SHARED_DATA")
    path = Path(named) if named else Path(__file__).parents[1] / ".." / "shared" / "data"
    if not path.is_dir():
        pytest.skip("no real data: set WINNOW_SHARED_DATA to a folder with pool/ and benchmarks/")
    return path.resolve()
