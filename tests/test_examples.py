"""The examples in the docstrings of the public names run as they stand."""

import doctest

import pytest

import lab


@pytest.mark.parametrize("name", lab.__all__)
def test_the_example_of_a_public_name_runs(name):
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(lab, name), name, globs={})
    assert example.examples
    said = []
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    doctest.DocTestRunner(optionflags=options, verbose=False).run(example, out=said.append)
    assert said == [], "".join(said)
