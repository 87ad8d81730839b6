"""`Accept-Language`, as browsers and strangers write it."""

import pytest
from cofactor_server.domain.foundation.languages import preferred
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("accepted", "tags"),
    [
        ("", ()),
        ("de", ("de",)),
        ("fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5", ("fr-CH", "fr", "en", "de")),
        ("en;q=0.3,de", ("de", "en")),
        ("de;q=0, en", ("en",)),
        ("es ; q=0.50 , pt-BR", ("pt-BR", "es")),
        ("*", ()),
        ("../../etc/passwd, de;q=2, {{7*7}}, en;q=-1", ()),
        (",".join(["aa", "bb", "cc", "dd", "ee", "ff"]), ("aa", "bb", "cc", "dd", "ee")),
    ],
)
def test_the_best_come_first_and_what_is_malformed_is_left_out(accepted: str, tags: tuple[str, ...]) -> None:
    assert preferred(accepted) == tags


@given(st.text(max_size=200))
def test_anything_is_read(accepted: str) -> None:
    assert all(tag.replace("-", "").isalnum() for tag in preferred(accepted))
