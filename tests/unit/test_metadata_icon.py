"""Icons of profiles: what is a JPEG or PNG of 64 by 64 pixels, and what else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsp.errors import Malformed
from rsp.icon import check_icon
from rsp.metadata import IconType
from tests.pictures import jpeg, png, png_of


@pytest.mark.parametrize("icon", [png(), png_of(1024)])
def test_a_png_of_the_right_size_is_an_icon(icon: bytes) -> None:
    assert check_icon(icon) is IconType.PNG
    assert check_icon(icon, IconType.PNG) is IconType.PNG


@pytest.mark.parametrize("frame", [0xC0, 0xC1, 0xC2])
@pytest.mark.parametrize("padding", [b"", b"\xff", b"\xff\x01"])
def test_a_jpeg_of_the_right_size_is_an_icon(frame: int, padding: bytes) -> None:
    assert check_icon(jpeg(frame=frame, padding=padding), IconType.JPG) is IconType.JPG


@pytest.mark.parametrize(
    ("icon", "claimed", "says"),
    [
        (png_of(1025), None, "at most 1024 bytes"),
        (png(65, 64), None, "65 by 64"),
        (png(64, 32), None, "64 by 32"),
        (jpeg(128, 128), None, "128 by 128"),
        (png(), IconType.JPG, "is a PNG"),
        (jpeg(), IconType.PNG, "is a JPG"),
        (b"GIF89a", None, "neither"),
        (b"", None, "neither"),
        (png()[:20], None, "damaged"),
        (jpeg()[:30], None, "damaged"),
        (jpeg(frame=0xC4), None, "damaged"),
        (b"\xff\xd8\xff\xe0\x00\x01", None, "damaged"),
        (b"\xff\xd8" + b"\xff" * 1000, None, "damaged"),
    ],
)
def test_anything_else_is_refused_with_its_reason(icon: bytes, claimed: IconType | None, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        check_icon(icon, claimed)


@given(st.sampled_from([b"", png(), jpeg()]), st.binary(max_size=40), st.integers(0, 400))
def test_any_bytes_are_an_icon_or_refused(start: bytes, noise: bytes, place: int) -> None:
    try:
        check_icon(start[:place] + noise + start[place + len(noise) :])
    except Malformed:
        return
