import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from mesa_llm.clients.server_errors import retry_after, retry_delay_in

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
        (" 5 ", 5.0),
        ("5s", 5.0),
        ("1m30s", 90.0),
        ("6m0s", 360.0),
        ("250ms", 0.25),
        ("1h 30m", 5400.0),
        ("30 seconds", 30.0),
        ("2 minutes", 120.0),
        ("1994-11-06T08:50:37Z", 60.0),
        ("1994-11-06T08:50:37", 60.0),
        ("784111837", 60.0),  # seconds since 1970
        ("784111837000", 60.0),  # milliseconds
        ("784111000", 0.0),
        ("1000000", 1_000_000.0),
        ("5, 10", 10.0),
        ("5, soon", None),
        ("5 apples", None),
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


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-ratelimit-reset-requests": "1s"}, 1.0),
        ({"x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        ({"X-RateLimit-Reset": "784111837000"}, 60.0),
        ({"ratelimit-reset": "30"}, 30.0),
        ({"anthropic-ratelimit-requests-reset": "1994-11-06T08:50:37Z"}, 60.0),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6s"}, None),
        (
            {
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-requests": "10",
                "x-ratelimit-reset-tokens": "6s",
                "x-ratelimit-remaining-tokens": "0",
            },
            6.0,
        ),
        (
            {
                "anthropic-ratelimit-requests-reset": "1994-11-06T08:50:37Z",
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "1994-11-06T09:50:37Z",
                "anthropic-ratelimit-tokens-remaining": "400",
            },
            60.0,
        ),
        ({"x-ratelimit-reset-requests": "1s", "Retry-After": "7"}, 7.0),
        ({"x-ratelimit-reset-requests": "soon"}, None),
        ({"x-ratelimit-limit-requests": "60"}, None),
    ],
)
def test_when_a_limit_is_reset(headers, expected):
    headers = CIMultiDict(headers)
    assert retry_after(headers, now=lambda: NOW) == expected
    without = retry_after(headers, with_resets=False, now=lambda: NOW)
    assert without == (7.0 if "Retry-After" in headers else None)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ([{"error": {"message": "no", "details": [{"@type": "x"}, {"retryDelay": "26s"}]}}], 26.0),
        ({"error": {"message": "no", "details": [{"retryDelay": "1.5s"}]}}, 1.5),
        ({"error": {"message": "no", "details": [{"retryDelay": "soon"}]}}, None),
        ({"error": {"message": "Rate limit reached. Please try again in 7m12s. Visit"}}, 432.0),
        ({"error": {"message": "Please try again in 336ms."}}, 0.336),
        ({"error": {"message": "Please retry in 26.5s."}}, 26.5),
        ({"error": {"message": "Please retry after 10 seconds."}}, 10.0),
        ({"error": {"message": "Please try again later."}}, None),
        ({"error": "try again in 2 hours"}, 7200.0),
        ("try again in 20s", 20.0),
        ({"error": {"message": "no", "details": "none"}}, None),
        (None, None),
    ],
)
def test_when_the_words_of_an_error_say_so(error, expected):
    assert retry_delay_in(error) == expected


def test_nothing_said():
    assert seconds() is None


@given(st.text())
def test_any_text_is_a_time_to_wait_or_nothing(text):
    wait = seconds(Retry_After=text)
    assert wait is None or 0 <= wait < float("inf")
