"""32 texts of very different kinds and lengths, whose vectors show whether an encoder has changed.

Another tokenizer, normaliser, truncation or padding moves some of them, another network all. Not
one may be changed: spaces are stored with the vectors of these texts.
"""

from __future__ import annotations

_PLAIN = (
    "whale",
    "The ferry leaves at noon.",
    "the ferry leaves at noon.",
    "THE FERRY LEAVES AT NOON.",
    "Is there a cheaper way to heat an old house without changing the windows?",
    "Fold the egg whites into the batter, a third at a time, and bake for forty minutes.",
    "She kept every letter, though none of them had been written to her.",
    "Not bad at all. Not at all bad. Bad, not at all.",
    "Interest rates rose by a quarter of a point; the bank's shares fell by three per cent.",
    "aspirin 500 mg tablets, 20 pieces",
)
_PUNCTUATED = (
    "3.14159 2,718,281 -273.15 1e-9 0x1F 24/7 50 % £9.99 +44 20 7946 0000",
    "2024-02-29T23:59:60Z",
    "?!… — «quoted» “quoted” (bracketed) [too]; semi-colon: colon, comma.",
    "....................",
    "  two  spaces\tone tab\nand a new line  ",
    "https://example.org/a/path?query=1&other=two#part",
    "def area(r: float) -> float:\n    return 3.14159 * r**2  # of a circle\n",
    "SELECT id, name FROM items WHERE price < 10 AND tag = 'new' ORDER BY \"name\";",
    '{"id": 7, "tags": ["red", "round"], "price": null}',
)
_SCRIPTS = (
    "Die Straße führt über große Brücken nach Köln.",
    "L'été dernier, les élèves ont goûté des crêpes à Besançon.",
    "El niño comió piñas mientras la cigüeña volaba.",
    "Старый мост через реку закрыт на ремонт до весны.",
    "Η θάλασσα ήταν ήσυχη το πρωί.",
    "古い橋のたもとで、釣り人が静かに待っている。",
    "图书馆周末从早上九点开到晚上十点。",
    "오늘은 비가 와서 산책을 못 했어요.",
    "السفينة وصلت إلى الميناء قبل الفجر.",
    "नदी के किनारे एक पुराना पीपल का पेड़ है।",
    "🐳 🚢 🌧️ 👩‍🔬 🇫🇮 👍🏽",
)
_ITEMS = ("a lamp", "two spoons", "a map of the coast", "some rope", "an unread novel", "salt")
_PLACES = ("in the attic", "below the stairs", "behind the mill", "near the harbour", "at sea")


def text_probes() -> list[str]:
    """32 different texts, NFC; the last two have some 100 and 800 words."""
    return [*_PLAIN, *_PUNCTUATED, *_SCRIPTS, _inventory(10), _inventory(80)]


def _inventory(lines: int) -> str:
    """Sentences that differ, so that every further one says something new."""
    return " ".join(
        f"On day {n + 1} they found {_ITEMS[n % 6]} {_PLACES[n % 5]}." for n in range(lines)
    )
