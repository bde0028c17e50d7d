"""What is known before anything is measured: the tables of profiles/ as typed rows. Pure."""
