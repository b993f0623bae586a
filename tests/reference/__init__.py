"""Plain numpy implementations that share no code with the library: what its numbers are held against."""
