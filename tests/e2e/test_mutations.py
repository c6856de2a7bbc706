"""tests/mutate takes minutes a rule and is run by hand; that its mutations still fit takes none."""

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

import pytest

import lake

LOADER = SourceFileLoader("mutate", str(lake.REPOSITORY / "tests" / "mutate"))
MUTATE = module_from_spec(spec_from_loader(LOADER.name, LOADER))
LOADER.exec_module(MUTATE)


@pytest.mark.parametrize("mutation", MUTATE.MUTATIONS, ids=lambda mutation: mutation.what)
def test_a_mutation_fits(mutation):
    text = (lake.REPOSITORY / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.before) == 1
