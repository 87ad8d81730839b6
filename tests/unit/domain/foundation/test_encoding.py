"""Octets that read one way only."""

import base64
from contextlib import suppress

import pytest
from cofactor_server.domain.foundation.encoding import base64url, framed, from_base64url, json_object
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(deadline=None)
@given(st.lists(st.binary(max_size=5)), st.lists(st.binary(max_size=5)))
def test_different_parts_give_different_octets(one: list[bytes], other: list[bytes]) -> None:
    assert (framed(*one) == framed(*other)) == (one == other)


def test_parts_cannot_be_shifted_into_each_other() -> None:
    assert framed("ab", "c") != framed("a", "bc")
    assert framed("a") != framed("a", "")


@settings(deadline=None)
@given(st.binary())
def test_base64url_reads_back(octets: bytes) -> None:
    assert from_base64url(base64url(octets)) == octets


@settings(deadline=None)
@given(st.text(alphabet="AQgw_-+/=\n aé", max_size=9))
def test_at_most_one_text_stands_for_the_same_octets(text: str) -> None:
    with suppress(ValueError):
        assert base64url(from_base64url(text)) == text


@pytest.mark.parametrize("text", ["QQ==", "QR", "Q", "QQ\n", " QQ", "Q Q", "+w", "/w", "é", "\ud800", "QUI="])
def test_what_base64url_does_not_write_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base64url"):
        from_base64url(text)


def test_both_alphabets_of_base64_differ_where_they_must() -> None:
    octets = b"\xfb\xff"
    assert base64.b64encode(octets) == b"+/8="
    assert base64url(octets) == "-_8"


@pytest.mark.requirement("S159")
@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'[{"a":1}]',
        b'"a"',
        b"",
        b"{",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        b'{"a":"\xff"}',
        b'{"a":' + b"[" * 6_000,
        b'{"a":' + b"9" * 5_000 + b"}",
    ],
)
def test_json_that_reads_several_ways_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the reason
        json_object(text)
