import builtins
import pickle

import pytest

from medassets import errors
from medassets.errors import MedassetsError, Reason, SampleRejectedError, SpecError, UsageError


@pytest.mark.parametrize("kind", [SpecError, UsageError])
def test_a_wrong_value_is_named_with_its_field(kind: type[UsageError]) -> None:
    error = kind(field="windows", what="lung: expected a width above 0, got 0")
    assert (error.field, error.what) == ("windows", "lung: expected a width above 0, got 0")
    assert str(error) == "windows: lung: expected a width above 0, got 0"


@pytest.mark.parametrize("kind", [SpecError, UsageError])
def test_a_wrong_value_passes_from_one_process_to_another(kind: type[UsageError]) -> None:
    found = pickle.loads(pickle.dumps(kind(field="seed", what="expected int, got 'a'")))
    assert type(found) is kind
    assert (found.field, found.what) == ("seed", "expected int, got 'a'")


def test_a_rejection_names_its_reason_and_its_detail() -> None:
    error = SampleRejectedError(Reason.TOO_SHORT, "0.2 s of video")
    assert (error.reason, error.detail) == (Reason.TOO_SHORT, "0.2 s of video")
    assert str(error) == "too_short: 0.2 s of video"


def test_an_error_is_found_by_the_name_that_another_process_reports() -> None:
    assert errors.find_error("SpecError") is SpecError
    assert errors.find_error("DecoderLostError") is errors.DecoderLostError
    assert errors.find_error("KeyError") is None
    assert errors.find_error(None) is None


def test_every_error_is_also_a_builtin_that_python_code_expects() -> None:
    ours = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    for kind in ours:
        if issubclass(kind, MedassetsError) and kind is not MedassetsError:
            assert any(
                base.__module__ == builtins.__name__ and base not in (Exception, BaseException)
                for base in kind.__mro__[:-3]
            ), kind
