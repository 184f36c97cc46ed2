"""The documentation has every key, as the code has it."""

from pathlib import Path

from angelx.app.config_reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_has_the_table_the_code_makes() -> None:
    assert PAGE.read_text().endswith(reference())


def test_every_row_is_whole() -> None:
    rows = reference().splitlines()
    assert {row.count(" | ") for row in rows if not row.startswith("|--")} == {3}
    assert len(rows) > 50
