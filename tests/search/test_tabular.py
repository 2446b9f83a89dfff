"""CSV studies: read, looked up, modelled; and every way in which they can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from networks.spaces.decisions import DecisionSpace
from networks.spaces.space import Decision, Space
from search.errors import StudyError
from search.evaluators.csv_study import CsvEvaluator, CsvLatency
from search.evaluators.evaluator import Evaluation, Evaluator, FailedEvaluation
from search.latency import FailedLatency, Latency
from search.tabular import fit_surrogate, read_study
from tests.contracts.evaluator_contract import EvaluatorContract

SPACE = DecisionSpace(
    "study",
    [
        Decision("kernel", ("3", "5", "7")),
        Decision("width", ("16", "32")),
        Decision("operator", ("conv", "sep")),
    ],
)
TEXT = """kernel,width,operator,accuracy,latency_ms,comment
3,16,conv,0.5,1.0,small
3.0,32,conv,0.6,2.0,
5,16,sep,0.7,3.0,
"""


def write(folder: Path, text: str = TEXT) -> Path:
    path = folder / "study.csv"
    path.write_text(text)
    return path


def full(folder: Path) -> Path:
    """A study of every network: accuracy adds up, latency too."""
    lines = ["kernel,width,operator,accuracy,latency_ms"]
    for kernel, width, operator in SPACE.enumerate():
        names = [d.options[i] for d, i in zip(SPACE.decisions, (kernel, width, operator),
                                              strict=True)]  # fmt: skip
        accuracy = 0.5 + 0.1 * kernel + 0.05 * width - 0.02 * operator
        lines.append(",".join([*names, f"{accuracy}", f"{1 + kernel + 2 * width}"]))
    return write(folder, "\n".join(lines) + "\n")


def test_reads_options_and_numbers(tmp_path: Path) -> None:
    study = read_study(write(tmp_path), SPACE)
    assert study.genotypes.tolist() == [[0, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert sorted(study.columns) == ["accuracy", "latency_ms"]
    assert study.column("accuracy").tolist() == [0.5, 0.6, 0.7]
    wanted = np.array([[1, 0, 1], [2, 0, 0]], np.int8)
    assert study.look_up("latency_ms", wanted) == [3.0, None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("kernel,", "kernal,"), "none for 'kernel'; did you mean kernal"),
        (("3.0,32", "9,32"), "line 3: kernel is one of 3, 5, 7, found '9'"),
        (("3.0,32", "3,16"), "lines 2 and 3 are the same network"),
        (("0.6", "nan"), "line 3: accuracy is a finite number, found 'nan'"),
        (("0.6", "much"), "line 3: accuracy is a finite number, found 'much'"),
        (("0.6,2.0,", "0.6"), "line 3: expected 6 cells, found 4"),
        ((TEXT[TEXT.index("\n") :], ""), "a header and rows, found 1 lines"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    assert change[0] in TEXT
    with pytest.raises(StudyError, match=rf"study\.csv.*{message}"):
        read_study(write(tmp_path, TEXT.replace(*change)), SPACE)


def test_a_missing_file_or_column(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="cannot be read"):
        read_study(tmp_path / "none.csv", SPACE)
    with pytest.raises(StudyError, match="expected a column 'accurracy'; did you mean accuracy"):
        read_study(write(tmp_path), SPACE).column("accurracy")


class TestExactRows(EvaluatorContract):
    @pytest.fixture
    def space(self) -> Space:
        return SPACE

    @pytest.fixture
    def evaluator(self, tmp_path: Path) -> Evaluator:
        return CsvEvaluator(read_study(write(tmp_path), SPACE), "accuracy", surrogate=False)

    def test_a_network_without_a_row_fails(self, evaluator: Evaluator) -> None:
        genotypes = np.array([[0, 1, 0], [2, 1, 1]], np.int8)
        first, second = evaluator.evaluate(genotypes, np.arange(2))
        assert first == Evaluation(0.6, 0.0)
        assert isinstance(second, FailedEvaluation)
        assert "no row" in second.reason


class TestSurrogate(EvaluatorContract):
    @pytest.fixture
    def space(self) -> Space:
        return SPACE

    @pytest.fixture
    def evaluator(self, tmp_path: Path) -> Evaluator:
        study = read_study(full(tmp_path), SPACE)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("search.tabular.LEAST_ROWS", 12)
            return CsvEvaluator(study, "accuracy", surrogate=True)

    def test_says_how_far_to_trust_it(self, evaluator: Evaluator) -> None:
        assert isinstance(evaluator, CsvEvaluator)
        assert evaluator.surrogate is not None
        assert evaluator.surrogate.kind == "ridge"
        assert evaluator.surrogate.kendall > 0.8
        assert "12 rows" in (evaluator.note or "")


def test_too_few_rows_for_a_surrogate(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="needs 20 rows of different values, found 3 in 3"):
        fit_surrogate(read_study(write(tmp_path), SPACE), "accuracy")


class TestLatency:
    def test_exact_rows(self, tmp_path: Path) -> None:
        source = CsvLatency(read_study(write(tmp_path), SPACE), "latency_ms", surrogate=False)
        assert source.fastest_ms == 1.0
        found = list(source.latencies(np.array([[1, 0, 1], [2, 1, 1]], np.int8)))
        assert found[0] == Latency(3.0)
        assert isinstance(found[1], FailedLatency)

    def test_refuses_what_is_no_latency(self, tmp_path: Path) -> None:
        study = read_study(write(tmp_path, TEXT.replace("2.0,", "0.0,")), SPACE)
        with pytest.raises(StudyError, match="latency_ms is above 0, found 0"):
            CsvLatency(study, "latency_ms", surrogate=False)
