"""Records of crashes, each read into a `Crash`."""
