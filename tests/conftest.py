"""Settings for all tests."""

from hypothesis import settings

# A busy machine makes a slow example, not a wrong one; speed is measured by `make bench`.
settings.register_profile("cpuprobe", deadline=None)
settings.load_profile("cpuprobe")
