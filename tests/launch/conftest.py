import pytest
from machine import Machine


@pytest.fixture
def machine(tmp_path):
    """A machine of its own for each test."""
    return Machine(tmp_path)
