"""One row of a data set into one demonstration, or the reason why not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Literal

from perturbations.demonstration import Demonstration, RejectedError, boxed_spans, parse_response
from perturbations.readers import UnreadableRow
from perturbations.steps import Steps

Format = Literal["auto", "conversations", "messages", "prompt_completion"]
FORMATS = ("auto", "conversations", "messages", "prompt_completion")
Segmenter = Callable[[str, str], Steps]


def read_row(
    row: dict[str, Any] | UnreadableRow,
    origin: str,
    segment: Segmenter,
    wanted: Format = "auto",
    answer_column: str = "answer",
    correct_column: str = "correct",
) -> Demonstration:
    """Turns one row into a demonstration.

    Args:
        row: the row's columns.
        origin: what to write down as the demonstration's source.
        segment: cuts the thought into steps, given the thought and the demonstration's id.
        wanted: the columns a row has its turns in.
        answer_column: where the gold answer is, if anywhere.
        correct_column: where it says whether the trace's answer is right, if anywhere.

    Raises:
        RejectedError: with the reason why the row cannot be used.
    """
    if isinstance(row, UnreadableRow):
        raise RejectedError(row.reason, row.message)
    system, problem, response = _turns(row, wanted)
    _check_unicode(system or "", problem, response)
    head, thought, middle, solution, tail = parse_response(response)
    boxes = boxed_spans(solution)
    if not boxes or not solution[slice(*boxes[-1])].strip():
        raise RejectedError("no_boxed_answer", "the solution has no \\boxed{…} with something in it")
    answer = row.get(answer_column)
    correct = row.get(correct_column)
    if correct is not None and not isinstance(correct, bool):
        raise RejectedError("wrong_type", f"{correct_column} is {type(correct).__name__}, not true or false")
    identity = _digest(system or "", problem, response)
    return Demonstration(
        id=identity,
        problem_id=_digest(problem.strip()),
        problem=problem,
        head=head,
        steps=segment(thought, identity),
        middle=middle,
        solution=solution,
        tail=tail,
        answer=str(answer) if answer is not None else solution[slice(*boxes[-1])],
        source=f"{origin}:{row['source']}" if isinstance(row.get("source"), str) else origin,
        correct=correct,
        system=system,
    )


def _digest(*texts: str) -> str:
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=12).hexdigest()


def _check_unicode(*texts: str) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise RejectedError("not_utf8", f"a lone surrogate: {error.reason} at character {error.start}") from error


_ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "system": "system"}


def _turns(row: dict[str, Any], wanted: Format) -> tuple[str | None, str, str]:
    keys = {"conversations": ("from", "value"), "messages": ("role", "content")}
    for column, (role, text) in keys.items():
        if wanted == column or (wanted == "auto" and column in row):
            turns = _list_of_turns(row, column, role, text)
            break
    else:
        turns = [
            ("user", _completion(row, "prompt", "user")),
            ("assistant", _completion(row, "completion", "assistant")),
        ]
    system: Any = row.get("system")
    if turns and turns[0][0] == "system":
        system = turns.pop(0)[1]
    if [role for role, _ in turns] != ["user", "assistant"]:
        raise RejectedError("not_one_turn", f"turns {[role for role, _ in turns]}, wanted one user and one assistant")
    if system is not None and not isinstance(system, str):
        raise RejectedError("wrong_type", f"system is {type(system).__name__}, not text")
    return system or None, turns[0][1], turns[1][1]


def _list_of_turns(row: dict[str, Any], column: str, role: str, text: str) -> list[tuple[str, str]]:
    turns = _column(row, column)
    if not isinstance(turns, list):
        raise RejectedError("wrong_type", f"{column} is {type(turns).__name__}, not a list of turns")
    result: list[tuple[str, str]] = []
    for turn in turns:  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(turn, dict) or not isinstance(turn.get(role), str) or not isinstance(turn.get(text), str):
            raise RejectedError("wrong_type", f"a turn of {column} is not {{{role!r}: text, {text!r}: text}}")
        said_by = str(turn[role])
        result.append((_ROLES.get(said_by, said_by), str(turn[text])))
    return result


def _completion(row: dict[str, Any], column: str, role: str) -> str:
    value = _column(row, column)
    if isinstance(value, list) and len(value) == 1:  # pyright: ignore[reportUnknownArgumentType]
        value = value[0].get("content") if isinstance(value[0], dict) and value[0].get("role") == role else None
    if not isinstance(value, str):
        raise RejectedError("wrong_type", f"{column} is neither text nor a list of one {role} message")
    return value


def _column(row: dict[str, Any], column: str) -> Any:
    if column not in row:
        raise RejectedError("missing_column", f"no column {column!r}; the row has {', '.join(sorted(row)) or 'none'}")
    return row[column]
