from __future__ import annotations

import gzip
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from perturbations.corpus import StoredCorpus
from perturbations.sources import Source, fingerprint, prepare
from tests.perturbations.conftest import conversation, response

Read = Callable[..., StoredCorpus]
CONF = Path(__file__).parents[2] / "conf" / "data"


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def rejects(corpus: StoredCorpus) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (corpus.folder / "rejects.jsonl").read_text().splitlines()]


THINK = "<think>\nOne.\n\nTwo.\n</think>\n\nIt is \\boxed{7}"


@pytest.mark.parametrize(
    "row",
    [
        conversation("What?"),
        {"conversations": [{"from": "human", "value": "What?"}, {"from": "gpt", "value": THINK}]},
        {"messages": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": THINK}]},
        {"prompt": "What?", "completion": response()},
        {
            "prompt": [{"role": "user", "content": "What?"}],
            "completion": [{"role": "assistant", "content": THINK}],
        },
    ],
)
def test_every_known_form_of_a_row_is_read(row: dict[str, Any], tmp_path: Path, stored: Read) -> None:
    (one,) = stored(lines(tmp_path / "rows.jsonl", row))
    assert (one.problem, one.thought, one.answer, one.correct) == ("What?", "One.\n\nTwo.", "7", None)
    assert [step.text for step in one.steps] == ["One.", "Two."]
    assert one.response in (response(), THINK)


def test_system_prompt_answer_and_correctness_come_along(tmp_path: Path, stored: Read) -> None:
    turns = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": THINK},
    ]
    rows = [{"messages": turns, "answer": 8, "correct": False}, conversation("W", system="T", source="aime24/3")]
    first, second = stored(lines(tmp_path / "rows.jsonl", *rows))
    assert (first.system, first.answer, first.correct) == ("S", "8", False)
    assert (second.system, second.source) == ("T", "rows.jsonl#1:aime24/3")


def test_every_file_type_yields_the_same_demonstrations(tmp_path: Path, stored: Read) -> None:
    rows = [conversation(f"What {i}?", answer="7") for i in range(5)]
    plain = lines(tmp_path / "rows.jsonl", *rows)
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    table = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), table)
    saved = tmp_path / "saved"
    datasets = pytest.importorskip("datasets")
    datasets.DatasetDict({"train": datasets.Dataset.from_list(rows)}).save_to_disk(str(saved))
    for path in (packed, table, saved):
        assert [one.response for one in stored(path)] == [one.response for one in stored(plain)]
        assert [one.id for one in stored(path)] == [one.id for one in stored(plain)]
    with pytest.raises(ValueError, match=r"data\.split='test' is not in .*train"):
        stored(saved, split="test")


def test_a_stored_corpus_is_read_by_row_slice_and_key(tmp_path: Path, stored: Read) -> None:
    rows = [conversation(f"What {i}?", response(f"Ünï {i} 😀\n\nb"), correct=i % 2 == 0) for i in range(70)]
    corpus = stored(lines(tmp_path / "rows.jsonl", *rows))
    everything = list(corpus)
    assert len(corpus) == 70 and corpus[69] == corpus[-1] == everything[69] and corpus[30:40] == everything[30:40]
    assert [(key.id, key.problem_id, key.correct) for key in corpus.keys] == [
        (one.id, one.problem_id, one.correct) for one in everything
    ]
    assert [one.thought for one in everything[:2]] == ["Ünï 0 😀\n\nb", "Ünï 1 😀\n\nb"]
    with pytest.raises(FileNotFoundError):
        StoredCorpus(tmp_path)


BAD: list[tuple[object, str]] = [
    (conversation(assistant="no tags \\boxed{1}"), "no_thought"),
    (conversation(assistant="<think>never ends"), "no_end"),
    (conversation(assistant=response(solution="no box")), "no_boxed_answer"),
    (conversation(assistant=response(solution="empty \\boxed{ }")), "no_boxed_answer"),
    (conversation(assistant="<think> \n</think>\\boxed{1}"), "empty_thought"),
    (conversation(assistant=response("a \ud800 b")), "not_utf8"),
    ('{"prompt": "\udcff"}', "not_utf8"),
    ('{"prompt": "cut', "bad_json"),
    ('{"prompt": ' + "9" * 5000 + "}", "bad_json"),
    ("[1, 2]", "wrong_type"),
    ({"conversations": [{"from": "us\ud800er", "value": "a"}]}, "not_one_turn"),
    ({"conversations": "text"}, "wrong_type"),
    ({"conversations": [{"from": "user", "value": 3}]}, "wrong_type"),
    ({"prompt": 3, "completion": "x"}, "wrong_type"),
    ({"prompt": ["a"], "completion": "x"}, "wrong_type"),
    (conversation(correct="yes"), "wrong_type"),
    (conversation(system=3), "wrong_type"),
    ({"conversations": [{"from": "user", "value": "a"}]}, "not_one_turn"),
    ({"prompt": "a", "text": "b"}, "missing_column"),
]


def test_a_row_that_cannot_be_used_is_counted_and_listed(tmp_path: Path, stored: Read) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [row if isinstance(row, str) else json.dumps(row) for row, _ in BAD]
    path.write_text("\n".join([*rows, json.dumps(conversation())]) + "\n", encoding="utf-8", errors="surrogateescape")
    corpus = stored(path, max_reject_share=0.99)
    assert len(corpus) == 1
    assert [(row["row"], row["reason"]) for row in rejects(corpus)] == [
        (i, reason) for i, (_, reason) in enumerate(BAD)
    ]
    report = json.loads((corpus.folder / "source.json").read_text())
    assert report["rejects"] == dict(sorted(Counter(reason for _, reason in BAD).items()))
    assert (report["rows"], report["demonstrations"]) == (len(BAD) + 1, 1)


def test_exact_duplicates_are_dropped_and_counted(tmp_path: Path, stored: Read) -> None:
    rows = [conversation("A"), conversation("B"), conversation("A"), conversation("A", system="other")]
    corpus = stored(lines(tmp_path / "rows.jsonl", *rows))
    assert [one.problem for one in corpus] == ["A", "B", "A"]
    assert len({one.id for one in corpus}) == 3 and corpus[0].problem_id == corpus[2].problem_id
    assert [(row["row"], row["reason"]) for row in rejects(corpus)] == [(2, "duplicate")]
    assert json.loads((corpus.folder / "source.json").read_text())["duplicates"] == 1


def test_too_many_unusable_rows_stop_with_the_counts(tmp_path: Path, stored: Read) -> None:
    path = lines(
        tmp_path / "rows.jsonl", conversation(), conversation(assistant="none"), conversation(assistant="<think>")
    )
    message = (
        r"rows\.jsonl: 2 of 3 rows cannot be used \(no_thought 1, no_end 1\).*data\.max_reject_share=0\.5"
        r".*the first, row 1: no <\|begin_of_thought\|> and no <think>"
    )
    with pytest.raises(ValueError, match=message):
        stored(path, max_reject_share=0.5)
    assert len(stored(path, max_reject_share=0.7)) == 1
    with pytest.raises(ValueError, match="0 of 0 rows"):
        stored(lines(tmp_path / "empty.jsonl"))


def test_no_more_than_asked_are_read(tmp_path: Path, stored: Read) -> None:
    rows = [conversation("A"), conversation(assistant="none"), conversation("B"), "not even JSON"]
    assert len(stored(lines(tmp_path / "rows.jsonl", *rows), max_demonstrations=2, max_reject_share=0.5)) == 2


def test_what_is_no_source_names_path_and_fix(tmp_path: Path, stored: Read) -> None:
    packed = gzip.compress(b"".join(json.dumps(conversation(f"{i}")).encode() + b"\n" for i in range(3000)))
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(
        ValueError, match=r"cut\.jsonl\.gz: the compressed file is damaged or cut short, after \d+ readable rows"
    ):
        stored(cut)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(ValueError, match=r"bad\.parquet is not a readable parquet file"):
        stored(tmp_path / "bad.parquet")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match=r"folder is a folder but not a saved data set.*save_to_disk"):
        stored(tmp_path / "folder")
    with pytest.raises(ValueError, match=r"must end in \.jsonl"):
        stored(lines(tmp_path / "rows.csv", "a"))
    with pytest.raises(FileNotFoundError, match=r"data\.path=.*missing\.jsonl"):
        stored(tmp_path / "missing.jsonl")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"kind": "web"}, r"data\.kind='web'"),
        ({"kind": "file"}, r"data\.path=None must be the file to read: data=file data\.path="),
        ({"kind": "hub"}, r"data\.hub_id"),
        ({"kind": "file", "path": "x", "format": "csv"}, r"data\.format='csv'.*conversations"),
        ({"kind": "file", "path": "x", "segmenter": "line"}, r"data\.segmenter='line'.*paragraph, reflection, llm"),
        ({"kind": "file", "path": "x", "segmenter": "llm"}, r"data\.llm_answers"),
        ({"kind": "file", "path": "x", "max_reject_share": 2}, r"data\.max_reject_share=2"),
        ({"kind": "file", "path": "x", "max_demonstrations": 0}, r"data\.max_demonstrations=0"),
    ],
)
def test_a_wrong_key_is_named(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Source(name="test", **keys)


def test_every_data_config_is_a_source() -> None:
    for path in CONF.glob("*.yaml"):
        config = yaml.safe_load(path.read_text())
        assert config["name"] == path.stem and path.read_text().startswith("# python run.py")
        revision = Source(**config | ({"path": "x"} if config["kind"] == "file" else {})).revision
        assert revision is None or len(revision) == 40


def test_the_fingerprint_is_of_content_not_of_place(tmp_path: Path) -> None:
    one = lines(tmp_path / "one.jsonl", conversation())
    two = Path(shutil.copy(one, tmp_path / "two.jsonl"))
    first = fingerprint(Source(name="a", kind="file", path=str(one)))
    assert first == fingerprint(Source(name="b", kind="file", path=str(two)))
    assert first != fingerprint(Source(name="a", kind="file", path=str(one), segmenter="reflection"))
    two.write_text(two.read_text() + "\n")
    assert first != fingerprint(Source(name="a", kind="file", path=str(two)))
    hub = [Source(name="h", kind="hub", hub_id="a/b", revision=revision) for revision in ("1", "2")]
    assert fingerprint(hub[0]) != fingerprint(hub[1])


def test_a_hub_set_is_read_at_its_revision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    asked: list[object] = []

    def load(hub_id: str, *, revision: str | None, split: str) -> list[dict[str, Any]]:
        asked.append((hub_id, revision, split))
        if hub_id == "away/away":
            raise ConnectionError("no network")
        return [conversation()]

    monkeypatch.setattr(datasets, "load_dataset", load)
    corpus = prepare(Source(name="h", kind="hub", hub_id="a/b", revision="c0ffee", split="train"), tmp_path)
    assert asked == [("a/b", "c0ffee", "train")]
    assert corpus[0].source == "a/b#0"
    assert json.loads((tmp_path / "source.json").read_text())["pinned"] is True
    prepare(Source(name="h", kind="hub", hub_id="a/b"), tmp_path)
    assert json.loads((tmp_path / "source.json").read_text())["pinned"] is False
    with pytest.raises(OSError, match=r"data\.hub_id=away/away.*set data\.path"):
        prepare(Source(name="h", kind="hub", hub_id="away/away"), tmp_path)


def test_the_real_traces_are_all_used(real_path: Path, stored: Read) -> None:
    corpus = stored(real_path)
    assert Counter(key.correct for key in corpus.keys) == {True: 321, False: 143}
    by_problem = {
        correct: {key.problem_id for key in corpus.keys if key.correct is correct} for correct in (True, False)
    }
    assert len(by_problem[True] & by_problem[False]) == 22
    with gzip.open(real_path, "rt") as file:
        originals = [json.loads(line)["conversations"][1]["value"] for line in file]
    assert [one.response for one in corpus] == originals
