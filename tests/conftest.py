"""Settings for all tests."""

from hypothesis import settings

# A shared machine may be slow for a moment: a time limit per example would fail for no reason.
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")
