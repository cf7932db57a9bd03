"""Which settings of ERec its two programs for next-scale models are compiled for."""

import dataclasses

from jaxedit.config import ScaleERecConfig
from jaxedit.erec.edit_varedit import by_program


def test_settings_of_the_last_steps_share_the_first_program():
    find, restore = by_program(ScaleERecConfig())
    pasted = by_program(ScaleERecConfig(hard_paste=True))
    assert pasted[0] == find and pasted[1] != restore
    one_pass = by_program(ScaleERecConfig(passes="one"))
    assert one_pass[0] != find and one_pass[1] == restore
    raw = by_program(ScaleERecConfig(refine=False))
    assert raw[0] != find and raw[1] != restore


def test_no_setting_is_lost():
    for field in dataclasses.fields(ScaleERecConfig):
        changed = dataclasses.replace(ScaleERecConfig(), **{field.name: "another value"})
        assert by_program(changed) != by_program(ScaleERecConfig()), field.name
