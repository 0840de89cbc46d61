from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from train.rows import read_rows


def corpus(folder: Path, rows: list[dict[str, object]]) -> Path:
    path = folder / "corpus.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_rows_are_prompt_and_completion_with_the_system_turn_where_there_is_one(tmp_path: Path):
    path = corpus(
        tmp_path,
        [
            {"id": "a", "problem": "1+1?", "response": "2", "system": None},
            {"id": "b", "problem": "2+2?", "response": "4", "system": "Think."},
        ],
    )
    first, second = read_rows(path)
    assert first.prompt == [{"role": "user", "content": "1+1?"}]
    assert first.completion == [{"role": "assistant", "content": "2"}]
    assert second.prompt == [{"role": "system", "content": "Think."}, {"role": "user", "content": "2+2?"}]


def test_a_missing_column_a_double_id_and_a_damaged_file_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="lacks the column 'response'"):
        read_rows(corpus(tmp_path, [{"id": "a", "problem": "?"}]))
    row: dict[str, object] = {"id": "a", "problem": "?", "response": "!"}
    with pytest.raises(ValueError, match="holds an id twice"):
        read_rows(corpus(tmp_path, [row, row]))
    (tmp_path / "corpus.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(OSError, match="is not a parquet file"):
        read_rows(tmp_path / "corpus.parquet")
