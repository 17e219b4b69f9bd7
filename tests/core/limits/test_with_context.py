"""A copy of an error with another text leaves the first one unchanged."""

import pytest

from mesa_llm.errors import ModelCallError, ModelTimeoutError
from mesa_llm.limits.retries import with_context


class WritesItsText(ModelCallError):  # noqa: N818
    def __init__(self, model):
        super().__init__(f"{model} failed.", model=model)


def test_text_attributes_cause_and_traceback_are_kept():
    cause = OSError("reset")
    with pytest.raises(ModelTimeoutError) as caught:
        raise ModelTimeoutError("slow.", model="a/b", status=504) from cause
    twin = with_context(caught.value, more="Tried twice.")
    assert twin.__traceback__ is caught.value.__traceback__ is not None
    assert type(twin) is ModelTimeoutError
    assert (str(twin), twin.model, twin.status, twin.__cause__) == ("slow. Tried twice.", "a/b", 504, cause)


def test_a_text_that_its_class_has_written_is_not_written_twice():
    assert str(with_context(WritesItsText("a/b"))) == "a/b failed."


def test_what_one_of_them_is_given_the_other_does_not_get():
    error = ModelCallError("down")
    error.add_note("first")
    twin = with_context(error)
    twin.add_note("second")
    assert (error.__notes__, twin.__notes__) == (["first"], ["first", "second"])
