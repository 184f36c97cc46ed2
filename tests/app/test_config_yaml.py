"""The YAML reader against an independent one: ruamel's own safe loader."""

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from angelx.app.config_yaml import read_yaml, scalar

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words
)
documents = st.recursive(
    st.dictionaries(
        st.from_regex(r"[a-z_]{2,8}", fullmatch=True).filter(lambda word: scalar(word) == word), scalars, min_size=1
    ),
    lambda inner: st.dictionaries(
        st.sampled_from(["alpha", "beta", "gamma"]), inner | st.lists(inner | scalars, max_size=3), min_size=1
    ),
    max_leaves=12,
)


def listed(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: listed(value) for key, value in data.items()}
    return [listed(value) for value in data] if isinstance(data, tuple | list) else data


@given(documents)
@settings(max_examples=50, deadline=None)
def test_what_ruamel_writes_and_loads_is_what_is_read(data: dict[str, Any]) -> None:
    yaml = YAML(typ="safe", pure=True)
    out = io.StringIO()
    yaml.dump(data, out)
    document = read_yaml(out.getvalue(), "x")
    try:
        loaded = YAML(typ="safe", pure=True).load(out.getvalue())
    except YAMLError:  # ruamel cannot read all it writes: a plain `?X` inside brackets.
        assert document.problems
    else:
        assert document.problems == []
        assert listed(document.data) == listed(loaded) == data


@pytest.mark.parametrize(
    "text",
    ["~", "null", "", "true", "False", "12", "-3", "+4", "0x1F", "0o17", "1.5", "-.5", "1e3", "1.e-2", "yes", "a b"],
)
def test_plain_scalars_are_those_of_the_core_schema(text: str) -> None:
    loaded = YAML(typ="safe", pure=True).load(f"a: {text}\n")["a"]
    assert (scalar(text), type(scalar(text))) == (loaded, type(loaded))


@pytest.mark.parametrize("text", ["2026-10-20", "12:30:00", "1_000", "0b1", "09:15", "1e", "e3", ".", "0x", "1.2.3"])
def test_dates_times_and_the_like_are_text(text: str) -> None:
    assert scalar(text) == text


def test_places_are_those_of_the_keys() -> None:
    document = read_yaml("# c\na: 1\nb:\n  c:\n    - x\n    - d: 2\n", "f.yaml")
    assert document.data == {"a": 1, "b": {"c": ("x", {"d": 2})}}
    expected = {("a",): 2, ("b",): 3, ("b", "c"): 4, ("b", "c", 0): 5, ("b", "c", 1): 6, ("b", "c", 1, "d"): 6}
    for path, line in expected.items():
        assert document.place(path) == f"f.yaml:{line}"
    assert document.place(("b", "c", 7, "z")) == "f.yaml:4"
    assert document.place(("nowhere",)) == "f.yaml:2"
