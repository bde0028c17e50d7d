"""The kernel's words on Gather Data Sampling (GDS, Downfall)."""

GDS_FILE = "gather_data_sampling"  # of /sys/devices/system/cpu/vulnerabilities
GDS_DISABLED = "AVX disabled"  # Linux arch/x86/kernel/cpu/bugs.c, gds_strings
