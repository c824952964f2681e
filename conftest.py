"""Settings for the tests of all packages."""

import os
from importlib.util import find_spec
from pathlib import Path

os.environ["RVOS_WEIGHTS"] = str(Path(__file__).with_name("no-weights"))  # what a user has fetched changes no test

if find_spec("hypothesis"):  # not every package develops with it
    from hypothesis import settings

    settings.register_profile("untimed", deadline=None)  # machines are slow at times
    settings.load_profile("untimed")
