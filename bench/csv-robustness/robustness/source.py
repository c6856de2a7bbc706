"""The clean table that every file is a pollution of.

It has the shape of the source of the Pollock benchmark: a header and 83 rows of nine columns, with dates,
times, counts, prices with a sign of currency, names, long texts, addresses (always quoted) and an empty
last column. Some fields hold commas, apostrophes and quotes. The words are our own.
"""

import datetime
import random
from dataclasses import dataclass

HEADER = ["DATE", "TIME", "Qty", "SKU", "Price", "Product", "Description", "URL", "Comments"]
ROWS = 83
SEED = 6

MAKERS = ["Men's", "Women's", "Kids'", "Gardener's", "Baker's", "Sailor's", "Painter's", "Plumber's"]
THINGS = ["Rake", "Apron", "Lantern", "Work Gloves", "Watering Can", "Ladder", "Raincoat", "Rolling Pin",
          "Folding Chair", "Tool Belt", "Wool Socks", "Paint Brush Set", "Thermos Flask", "Garden Hose"]
VARIANTS = ["", "", "", ", Long-Handled", ", Set of 3", ", Oak/Brass"]
# In one row of ten.
INCHES = [' 10"', ', 24" Wide']
OPENINGS = ["Light enough for a whole day's work", "Built to outlast the shed it is kept in",
            "A plain tool that does one thing well", "Made of what is left over from sails",
            "It doesn't chip, peel or rust", "Dries quickly, packs small", "Soft, warm and hard to tear"]
MIDDLES = ["and just as good in rain", "with seams that are sewn twice", "with 3 mm of felt inside",
           "and easy to mend: all parts can be had singly", "with a grip of 100% cork",
           "from a workshop that won't use glue", "with a rim all around"]
ENDINGS = ["Our bestseller for years.", "Not for children under 3.", "Wash at 40 degrees, or by hand.",
           "Comes in a box, with a spare.", "You'll want a second one.", "Colours vary a little."]


@dataclass
class Cell:
    """A value, and how it is written."""

    text: str
    is_quoted: bool
    # One quote too many before the first character.
    has_stray_quote: bool = False

    @property
    def value(self) -> str:
        return '"' + self.text if self.has_stray_quote else self.text


def table() -> list[list[Cell]]:
    """The header, then the rows."""
    words = random.Random(SEED)
    header = [Cell(name, False) for name in HEADER]
    return [header, *(row(number, words) for number in range(ROWS))]


def row(number: int, words: random.Random) -> list[Cell]:
    # No day can be taken for a month.
    date = datetime.date(2018, 1 + number // 16, 13 + number % 16)
    time = datetime.time(number % 24, 15 * (number % 4))
    sku = f"{words.choice('ABGHRYZ')}{words.choice('CEIKN')}-{words.randint(1000, 9999)}"
    variant = words.choice(INCHES if number % 10 == 9 else VARIANTS)
    name = f"{words.choice(MAKERS)} {words.choice(THINGS)}{variant}"
    joint = words.choice([", ", " "])
    text = f"{words.choice(OPENINGS)}{joint}{words.choice(MIDDLES)}. {words.choice(ENDINGS)}"
    values = [
        f"{date:%d/%m/%Y}", f"{time:%H:%M}", str(words.randint(0, 33)), sku,
        f"${words.randint(90, 9999) / 100:.2f}", name, text,
        f"https://www.example.com/product/{sku.replace('-', '_')}.html", "",
    ]
    return [
        Cell(value, is_quoted=column == "URL" or any(mark in value for mark in ',"'))
        for column, value in zip(HEADER, values)
    ]
