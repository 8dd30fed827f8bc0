# SPDX-License-Identifier: Apache-2.0
"""``tests.prose`` refuses riddles in docstrings and comments, and passes sentences."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import prose

PLAIN = '''"""Read a table of numbers."""

LIMIT = 3
"""The largest number of rows; the sum of none of them overflows."""


class Table:
    """A table.

    Attributes:
        rows: The number of rows.
        offset: The offset of the first
            row. It is kept.
    """

    def read(self) -> int:
        """Return the number of rows:

        - those of the file
        """
        return self.rows  # there is none in an empty file
'''


@pytest.mark.parametrize(
    ("good", "bad", "line", "complaint"),
    [
        pytest.param('"""The largest number', '"""Of the file, the largest number', 4, "'Of'", id="fragment"),
        pytest.param("rows: The number of rows.", "rows: of the file.", 11, "'Of'", id="fragment-in-attributes"),
        pytest.param("offset: The offset of the first", "offset: Of the first", 12, "'Of'", id="second-attribute"),
        pytest.param("row. It is kept.", "row. Likewise.", 12, "'Likewise'", id="reference"),
        pytest.param("rows: The number of rows.", "rows: The same.", 11, "'The same.'", id="same"),
        pytest.param("# there is none in", "# likewise in", 21, "'likewise'", id="comment"),
        pytest.param("# there is none in", "# which is none in", 21, "'is none'", id="none"),
        pytest.param("# there is none in", "# a network puts out", 21, "'puts out'", id="put-out"),
        pytest.param('"""A table.', '"""A table', 8, "a fragment", id="no-full-stop"),
    ],
)
def test_a_riddle_is_refused_where_it_stands(good: str, bad: str, line: int, complaint: str) -> None:
    assert good in PLAIN

    ((at, text),) = prose.complaints(PLAIN.replace(good, bad))

    assert at == line
    assert text.startswith(complaint)


def test_sentences_pass() -> None:
    assert list(prose.complaints(PLAIN)) == []


def test_a_riddle_in_a_file_is_printed_and_ends_with_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "riddle.py").write_text('"""Of a network."""\n')

    assert prose.main([str(tmp_path / "riddle.py")]) == 1
    assert f"{tmp_path / 'riddle.py'}:1: 'Of'" in capsys.readouterr().out
