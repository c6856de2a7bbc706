"""The columns of TPC-H lineitem, typed as `lakefeed plan` infers them: what every contender is told."""

INTEGERS = ["l_orderkey", "l_partkey", "l_suppkey", "l_linenumber", "l_quantity"]
FLOATS = ["l_extendedprice", "l_discount", "l_tax"]
FLAGS = ["l_returnflag", "l_linestatus"]
DATES = ["l_shipdate", "l_commitdate", "l_receiptdate"]
TEXTS = ["l_shipinstruct", "l_shipmode", "l_comment"]


def columns(integer, floating, text, date) -> dict:
    """The types by column, in the order of the file, in the words of one tool."""
    groups = [(INTEGERS, integer), (FLOATS, floating), (FLAGS, text), (DATES, date), (TEXTS, text)]
    return {name: kind for names, kind in groups for name in names}
