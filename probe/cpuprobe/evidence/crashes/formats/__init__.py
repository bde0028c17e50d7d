"""What people paste about a crash: one module a family of formats; `registry` lists them."""
