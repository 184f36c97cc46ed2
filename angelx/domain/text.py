"""Text that came from outside, before anybody sees it."""


def printable(text: str, *, keep: str = "", instead: str = "?") -> str:
    """The text with `instead` for whatever could move a cursor or end a line, but for the letters in `keep`."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in keep else instead for letter in text)
