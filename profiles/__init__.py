"""Facts as data: the TOML tables that `cpuprobe.facts` loads and checks. No logic lives here."""
