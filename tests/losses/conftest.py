"""Both ways in which losses compute few rows, for tests that ask for them."""

import pytest

from ms_keras.losses import compiling


@pytest.fixture(params=["by_xla", "op_by_op"])
def either_way(request, monkeypatch):
    """Runs a test once compiled, as many rows are, and once as few rows are."""
    few = 0 if request.param == "by_xla" else 128
    monkeypatch.setattr(compiling, "_FEW_ROWS", few)
