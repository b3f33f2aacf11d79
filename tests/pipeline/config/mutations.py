"""Collection files that something has gone wrong with, at random: a value, a line, some bytes."""

from __future__ import annotations

import random

from tests.pipeline.config.books import GOOD

HOSTILE = [
    *('""', '" "', '[""]', "[]", "[[]]", "{}", "[{}]", "true", "0", "-1", "0.5", "nan", "-inf"),
    *("1e400", "9" * 5000, "-" + "9" * 400, f"0x{'f' * 6000}", str(2**63), "[1, 'a']", "'x'"),
    *("2026-01-01", "2026-01-01T00:00:00Z", "07:00:00", f"{'[' * 3000}", f"'{'a' * 100_000}'"),
    *('"\\u0000"', '"~\\u0000/x"', '["\\u0000"]', '"\\t"', '"\\n"', '"\\ud7ff"', '"🐳"', '"é"'),
    *('"../../x"', '"~nobody/x"', '"[a"', '"**"', '"%s"', '"{0}"', '"{partition}"', '"://"'),
    *('["*"]', '["digest:text/v1"]', '["id"]', '["a", "A"]', '"999999d"', '"0m"', '"1w"'),
    *('"@dayly"', '"61 * * * *"', '"* * * * *"', '"@continuous"', '"airflow://x"', '["x://"]'),
    *('"hashed/0"', f'"hashed/{"9" * 30}"', '"package:"', '"torchvision/"', '"day"', '"manual"'),
    *('"csv"', '"folder"', '"commonspace_maintenance"', f"'{'n' * 300}'", "{a = {b = {c = 1}}}"),
]
"""Values as TOML writes them; some are not TOML."""
KEYS = [
    *("schedule", "schedule_on", "deadline", "late_by", "partitions", "approve_within", "owner"),
    *("newest", "columns", "link_roots", "encoding", "metadata", "text_index", "golden", "weights"),
    *("pool", "queue", "fresh_within", "precision", "dimensions", "revision", "path", "name"),
]


def mutated(number: int) -> bytes:
    """A good collection file with a mutation of that number."""
    source = random.Random(number)
    text = GOOD.replace('"@daily"', '"@daily"\npartitions = "day"') if number % 2 else GOOD
    lines = text.split("\n")
    kind = source.choice(["value", "value", "value", "key", "lines", "bytes", "cut", "insert"])
    if kind == "value":
        place = source.choice([n for n, line in enumerate(lines) if "=" in line])
        lines[place] = f"{lines[place].partition('=')[0]}= {source.choice(HOSTILE)}"
    elif kind == "key":
        line = f"{source.choice(KEYS)} = {source.choice(HOSTILE)}"
        lines.insert(source.randrange(len(lines)), line)
    elif kind == "lines":
        first, second = source.randrange(len(lines)), source.randrange(len(lines))
        lines[first], lines[second] = lines[second], lines[first]
    data = bytearray("\n".join(lines).encode())
    place = source.randrange(len(data))
    if kind == "bytes":
        data[place] = source.randrange(256)
    elif kind == "cut":
        del data[place : place + source.randrange(1, 40)]
    elif kind == "insert":
        data[place:place] = source.choice(HOSTILE).encode()
    return bytes(data)
