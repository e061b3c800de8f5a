"""A repeated sweep keeps the report that is there, and only that."""

from pathlib import Path

from harness.record import Record, write_record
from harness.report import build_report


def record(name: str, seed: int = 0) -> Record:
    return Record(
        run_id=name, status="done", method="random", pool="p", pool_size=9, budget=3, target="any",
        model="m", selector_model="none", recipe="r", suite="s", judge="j", seed=seed,
    )  # fmt: skip


def test_a_report_of_the_same_records_is_kept(tmp_path: Path):
    write_record(record("a"), tmp_path / "records")
    first = build_report([tmp_path], tmp_path, if_changed=True)
    first["report"].write_text("as it was")
    assert build_report([tmp_path], tmp_path, if_changed=True) == first
    assert first["report"].read_text() == "as it was"
    build_report([tmp_path], tmp_path)  # asked for outright, it is made anew
    assert first["report"].read_text() != "as it was"


def test_a_new_record_a_lost_file_or_another_table_makes_it_anew(tmp_path: Path):
    write_record(record("a"), tmp_path / "records")
    paths = build_report([tmp_path], tmp_path, if_changed=True)
    for change in (
        lambda: write_record(record("b", seed=1), tmp_path / "records"),
        lambda: paths["leaderboard"].unlink(),
        lambda: (tmp_path / ".report.json").write_text('{"state": 3}'),
        lambda: (tmp_path / ".report.json").write_text("no JSON"),
    ):
        paths["report"].write_text("as it was")
        change()
        build_report([tmp_path], tmp_path, if_changed=True)
        assert paths["report"].read_text() != "as it was"
        assert paths["leaderboard"].is_file()
    paths["report"].write_text("as it was")
    build_report([tmp_path], tmp_path, ["table_7"], if_changed=True)
    assert paths["report"].read_text() != "as it was"
