"""delta-rs: sums a table up in a checkpoint. Usage: delta_checkpoint.py TABLE"""

import sys

import deltalake

if __name__ == "__main__":
    deltalake.DeltaTable(sys.argv[1]).create_checkpoint()
