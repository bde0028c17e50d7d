"""What a file needs, held against a machine: will it run there."""
