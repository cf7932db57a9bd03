import pytest

from jaxedit.config import TokenSampleConfig
from jaxedit.sampling import sample_editar


@pytest.mark.parametrize(
    "settings, rows",
    [
        ({}, (0, None)),
        ({"guidance": 1.0}, (0,)),
        ({"guidance": 0.5}, (0,)),
        ({"guidance": -2.0, "guidance_mode": "joint"}, (0,)),
        ({"guidance_mode": "joint"}, (0, None)),
        ({"guidance_mode": "dual", "guidance": 1.0}, (0, None, None)),
    ],
)
def test_rows_of_a_picture(settings, rows):
    assert sample_editar.text_rows(TokenSampleConfig(**settings)) == rows
