"""The code of our images is well typed, with the packages that it finds there."""

from __future__ import annotations

import pytest

from tests.data_plane.pod_code_types import check
from workloads.images import NAMES, ImageName

pytestmark = pytest.mark.data_plane


@pytest.mark.parametrize("name", NAMES)
def test_the_code_is_well_typed_with_the_packages_of_its_image(name: ImageName):
    done = check(name, whole=False)

    assert done.returncode == 0, done.stdout
