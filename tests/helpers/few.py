"""Which cases of a test run before every commit, and which under ``-m slow``."""

import pytest


def few(cases, *quick):
    """Return ``cases`` as parameters of a test, those that are not among ``quick`` marked slow."""
    missing = [case for case in quick if case not in cases]
    assert not missing, missing
    return [pytest.param(*_values(case), marks=() if case in quick else pytest.mark.slow) for case in cases]


def _values(case):
    return case if isinstance(case, tuple) else (case,)
