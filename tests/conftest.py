"""Settings for all tests."""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

# A shared machine may be slow for a moment: a time limit per example would fail for no reason. The same tree gives the
# same answer; `make explore` looks for examples that nobody has seen yet.
settings.register_profile("house", deadline=None, print_blob=True, derandomize=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("house")


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A test that runs the command line in this process leaves no logger on a stream that pytest has closed."""
    yield
    structlog.reset_defaults()
