"""The yardstick: Lakefeed beside other ways from CSV to a Delta table. `bench/run --help`."""
