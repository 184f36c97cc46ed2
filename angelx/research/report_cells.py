"""Pieces of the page: sections, tables, cells. Everything that goes in is text and comes out escaped."""

from collections.abc import Iterable, Mapping, Sequence

from angelx.research.report_format import DASH, MINUS, Formats, clean, percent


def nothing(title: str, words: str) -> str:
    """A section with nothing to show, and why."""
    return f'<section><h2>{clean(title)}</h2><div class="empty">{clean(words)}</div></section>'


def table(columns: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Column names that begin with # are numbers, on the right."""
    heads = "".join(
        f'<th class="n">{clean(name[1:])}</th>' if name.startswith("#") else f"<th>{clean(name)}</th>"
        for name in columns
    )
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def table_section(title: str, words: str, columns: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A section of one table."""
    return f"<section><h2>{clean(title)}</h2><p>{clean(words)}</p>{table(columns, rows)}</section>"


def text_cell(text: object, *, wrap: bool = False) -> str:
    """Text on the left; `wrap` lets a long one take several lines."""
    return f"<td{' class=wrap' if wrap else ''}>{clean(text)}</td>"


def time_cell(at: int, formats: Formats) -> str:
    """An instant, sorted by its ns."""
    return f'<td data-v="{at}">{formats.time(at)}</td>'


def number_cell(text: str, value: float) -> str:
    """A figure on the right, sorted by `value`."""
    return f'<td class="n" data-v="{value}">{clean(text)}</td>'


def count_cell(value: int) -> str:
    """A whole number."""
    return number_cell(f"{value:,}", value)


def won_cell(row: Mapping[str, int]) -> str:
    """Share of decided round trips that were won."""
    decided = row["wins"] + row["losses"]
    return number_cell(percent(row["wins"] / decided, 0) if decided else DASH, row["wins"] / decided if decided else -1)


def money_cell(amount: int, formats: Formats, *, signed: bool = False) -> str:
    """Money; `signed` colours it and shows its sign."""
    tone = tone_of(amount) if signed else ""
    return f'<td class="n {tone}" data-v="{amount}">{clean(formats.money(amount, signed=signed))}</td>'


def tone_of(amount: int) -> str:
    """Class of a gain or a loss."""
    return "good" if amount > 0 else "bad" if amount < 0 else ""


def signed_text(value: float, places: int) -> str:
    """`+1.2`, `0.0` or, with a typographic minus, `-1.2`."""
    return f"{round(value, places):+.{places}f}".replace("-", MINUS) if round(value, places) else f"{0:.{places}f}"


def count_text(value: object) -> str:
    """A count that may be missing."""
    return f"{value:,.0f}" if isinstance(value, (int, float)) else DASH


def plural(count: int, noun: str) -> str:
    """`no checks`, `1 check`, `2 checks`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}" if count else f"no {noun}s"


def cut_note(size: int, shown: int, which: str) -> str:
    """Says that a table was cut, where it was."""
    return f" The {shown} {which} of {size:,}; the JSON file has all." if size > shown else ""
