import pytest

from fofa.errors import UserError
from fofa.predictor.sampling import sample_architectures
from fofa.space import SearchSpace

SPACE = SearchSpace(kind="elastic", resolutions=(24, 32))


def test_samples_are_different_seeded_and_of_the_space() -> None:
    first = sample_architectures(SPACE, 100, 1)
    assert len(set(first)) == 100
    assert first == sample_architectures(SPACE, 100, 1)
    assert first != sample_architectures(SPACE, 100, 2)
    assert all(architecture in SPACE for architecture in first)


def test_the_compound_space_is_not_sampled() -> None:
    with pytest.raises(UserError, match="needs no predictor"):
        sample_architectures(SearchSpace(), 10, 0)


@pytest.mark.parametrize("num", [0, -1, 10**7])
def test_impossible_numbers(num) -> None:
    with pytest.raises(UserError, match="expected 1 to"):
        sample_architectures(SPACE, num, 0)
