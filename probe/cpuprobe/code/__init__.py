"""Machine code: its containers, its functions, and what its instructions need."""
