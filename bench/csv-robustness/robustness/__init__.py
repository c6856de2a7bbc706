"""Polluted CSV files, readers of them, and what each reader made of each file."""
