"""Settings for the tests of all packages."""

from importlib.util import find_spec

if find_spec("hypothesis"):  # not every package develops with it
    from hypothesis import settings

    settings.register_profile("untimed", deadline=None)  # machines are slow at times
    settings.load_profile("untimed")
