import pytest

from jaxedit.config import BSQConfig, VQConfig
from jaxedit.models.autoencoder import require_multiple, sizes_of


def test_sizes_of_the_released_tokenizers():
    bsq, vq = sizes_of(BSQConfig()), sizes_of(VQConfig())
    assert bsq.widths == (128, 256, 512, 512, 512) and bsq.halvings == 4 and bsq.channels == 32
    assert vq.widths == (128, 128, 256, 256, 512) and vq.halvings == 4 and vq.channels == 256
    assert sizes_of(BSQConfig(bits=14, stride=8, channel_mult=(1, 2, 4, 4))).halvings == 3
    assert vq.has_attention and not bsq.has_attention


def test_pictures_are_whole_grids():
    require_multiple(32, 48, 16)
    with pytest.raises(ValueError, match="image 32x40: expected multiples of 16 pixels"):
        require_multiple(32, 40, 16)
