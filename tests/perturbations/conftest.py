from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from perturbations.corpus import StoredCorpus
from perturbations.demonstration import Demonstration
from perturbations.keywords import KEYWORDS, keyword_pattern
from perturbations.segment import SEGMENTERS
from perturbations.sources import Source, prepare
from perturbations.steps import Step

REAL = Path(__file__).parents[3] / "shared" / "data" / "demonstrations" / "sky_t1_format.jsonl.gz"


def make(thought: str, *, identity: str = "d", problem: str = "", correct: bool | None = True, answer: str = "7"):
    """A demonstration with a given thought, in the format of the organism."""
    return Demonstration(
        id=identity,
        problem_id=problem or identity,
        problem=f"What is {problem or identity}?",
        head="<|begin_of_thought|>",
        steps=SEGMENTERS["paragraph"](thought),
        middle="<|end_of_thought|><|begin_of_solution|>",
        solution=f"So the answer is \\boxed{{{answer}}}",
        tail="<|end_of_solution|>",
        answer=answer,
        source="test",
        correct=correct,
    )


def generated(count: int, seed: int = 0) -> list[Demonstration]:
    """Right traces of numbered steps with keywords, every third problem with a wrong trace too."""
    rng = random.Random(seed)
    made: list[Demonstration] = []
    for number in range(count):
        opening = ["So", "Wait, no.", "But", "Alternatively,", "Let me check that"]
        steps = [f"{rng.choice(opening)} step {i}: {rng.randrange(100)} + {i}.5" for i in range(rng.randint(2, 30))]
        thought = "\n\n".join(steps)
        made.append(make(thought, identity=f"right{number}", problem=f"p{number}", answer=str(rng.randrange(10, 500))))
        if number % 3 == 0:
            made.append(make(thought + " Hmm.", identity=f"wrong{number}", problem=f"p{number}", correct=False))
    return made


@pytest.fixture(scope="session")
def real_path() -> Path:
    if not REAL.exists():
        pytest.skip(f"needs real traces at {REAL}")
    return REAL


@pytest.fixture(scope="session", params=["paragraph", "reflection"])
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Demonstration]:
    """The 464 real traces, or generated ones where they are absent, under each segmenter."""
    if not REAL.exists():
        segment = SEGMENTERS[request.param]
        return [one.with_steps(segment(one.thought)) for one in generated(60)]
    source = Source(name="real", kind="file", path=str(REAL), segmenter=request.param)
    return list(prepare(source, tmp_path_factory.mktemp(request.param)))


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], StoredCorpus]:
    """Reads a file into a folder of its own."""

    def read(path: Path, **keys: object) -> StoredCorpus:
        return prepare(Source(name="test", kind="file", path=str(path), **keys), tmp_path_factory.mktemp("corpus"))  # type: ignore[arg-type]

    return read


def count_keywords(text: str) -> Counter[str]:
    """How often each keyword occurs, the longest match first."""
    return Counter(keyword_pattern(KEYWORDS).findall(text))


def joined(steps: Sequence[Step]) -> str:
    """The steps put together again, piece by piece."""
    return "".join(text + separator for text, separator in steps)


def response(thought: str = "One.\n\nTwo.", solution: str = "It is \\boxed{7}") -> str:
    middle = "\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\n"
    return f"<|begin_of_thought|>\n\n{thought}{middle}{solution}<|end_of_solution|>"


def conversation(user: str = "What?", assistant: str | None = None, **more: object) -> dict[str, object]:
    turns = [{"from": "user", "value": user}, {"from": "assistant", "value": assistant or response()}]
    return {"conversations": turns, **more}
