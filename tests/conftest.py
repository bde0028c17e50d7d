"""Settings for all tests."""

from hypothesis import settings

# A busy machine makes a slow example, not a wrong one; what must be fast is measured by `make bench`.
settings.register_profile("cpuprobe", deadline=None)
settings.load_profile("cpuprobe")
