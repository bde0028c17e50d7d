"""Facts as data: the TOML tables that `cpuprobe.features` loads and checks. No logic lives here."""
