"""The settings of the conversion of a data set."""

import dataclasses
import pathlib
from typing import Annotated

from jaxedit.config.fields import Interval
from jaxedit.engines.options import EngineConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreConfig(EngineConfig):
    """Settings of a conversion, which are also the options of the command."""

    dataset: str  # pairs, or the name of a published data set
    src: pathlib.Path  # the published data set; for pairs a directory, .jsonl or .csv
    out: pathlib.Path  # the store's directory, local
    shards: Annotated[int, Interval("[0, 99999]")] = (
        0  # files of the store (default: by the size of the data set)
    )
    # longest short side of stored pictures, in pixels (default 512)
    store_px: Annotated[int, Interval("[16, 8192]")] = 512
    scratch: pathlib.Path | None = None  # to unpack or index archives in (default: in --src)
    overwrite: bool = False  # start again; deletes a store there and its drop lists
    skip_unreadable: bool = False  # leave out published files that cannot be read

    def validate(self) -> None:
        """Raise ConfigError for settings that cannot work."""
        from jaxedit.data.store import require_local  # slow to import

        for option, path in (("src", self.src), ("out", self.out), ("scratch", self.scratch)):
            require_local(path or "", f"--{option}")
        super().validate()
