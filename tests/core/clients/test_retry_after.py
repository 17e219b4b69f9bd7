import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesa_llm.clients.failures import retry_after

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT


def seconds(**headers):
    return retry_after({name.replace("_", "-"): value for name, value in headers.items()}, now=lambda: NOW)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sun, 06 Nov 1994 09:50:37 +0100", 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        ("Sun Nov  6 08:50:37 1994", 60.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
    ],
)
def test_both_forms(value, expected):
    assert seconds(Retry_After=value) == expected


def test_milliseconds_go_first():
    assert seconds(Retry_After_Ms="1500", Retry_After="1") == 1.5
    assert seconds(Retry_After_Ms="soon", Retry_After="1") == 1.0


def test_nothing_said():
    assert seconds() is None


@given(st.text())
def test_any_text_is_a_time_to_wait_or_nothing(text):
    wait = seconds(Retry_After=text)
    assert wait is None or 0 <= wait < float("inf")
