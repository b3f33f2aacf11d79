"""Every key of a warehouse, letter by letter: warehouses that are filled already have them."""

from __future__ import annotations

import pytest

from commonspace.pipeline.contract import layout
from commonspace.pipeline.contract.name import SpaceName

NAME = SpaceName("books", "text", 2)
DIGEST = "0123456789abcdef" * 4
HALF = DIGEST[:32]
RUN = ".runs/books/r1"
SHARDS = f".runs/books/shards/text-v2-{DIGEST[:16]}"
KEYS = {
    "space_folder": ([NAME], "books/text/v2"),
    "spec_key": ([NAME], "books/text/v2/spec.json"),
    "canary_key": ([NAME], "books/text/v2/canary.parquet"),
    "current_key": ([NAME], "books/text/v2/CURRENT"),
    "promotion_lock_key": ([NAME], "books/text/v2/.promotion"),
    "retention_lock_key": ([NAME], "books/text/v2/.retention"),
    "promotion_key": ([NAME], "books/text/v2/PROMOTING"),
    "removal_key": ([NAME], "books/text/v2/CONDEMNED"),
    "retirement_key": ([NAME], "books/text/v2/RETIRED"),
    "releases_folder": ([NAME], "books/text/v2/releases"),
    "release_key": ([NAME, 12], "books/text/v2/releases/000012.json"),
    "pins_folder": ([NAME], "books/text/v2/pins"),
    "pin_key": ([NAME, 12], "books/text/v2/pins/000012.json"),
    "parts_folder": ([NAME], "books/text/v2/parts"),
    "part_key": ([NAME, "in-a", "01", DIGEST], f"books/text/v2/parts/in-a/01-{HALF}.parquet"),
    "rejects_folder": ([NAME], "books/text/v2/rejects"),
    "rejects_key": ([NAME, DIGEST], f"books/text/v2/rejects/{HALF}.parquet"),
    "table_folder": ([NAME], "lancedb/books__text__v2.lance"),
    "lancedb_address": (["s3://b/w"], "s3://b/w/lancedb"),
    "table_address": (["s3://b/w", NAME], "s3://b/w/lancedb/books__text__v2.lance"),
    "runs_folder": (["books"], ".runs/books"),
    "run_folder": (["books", "r1"], RUN),
    "run_file_key": (["books", "r1", NAME, "plan.json"], f"{RUN}/text-v2/plan.json"),
    "items_folder": ([RUN], f"{RUN}/items"),
    "passages_folder": ([RUN, "text/v2"], f"{RUN}/passages/text/v2"),
    "pull_rejects_key": ([RUN], f"{RUN}/pull-rejects.parquet"),
    "extents_key": ([RUN], f"{RUN}/extents.parquet"),
    "report_suffix": ([NAME], "/text-v2/report.json"),
    "shards_folder": (["books"], ".runs/books/shards"),
    "encoder_shards_folder": ([NAME, DIGEST], SHARDS),
    "shard_key": ([NAME, DIGEST, "abc"], f"{SHARDS}/abc.parquet"),
    "crash_log_folder": ([NAME, DIGEST], f"{SHARDS}/traces"),
    "candidate_canary_key": ([NAME, DIGEST], f"{SHARDS}/canary.parquet"),
}


@pytest.mark.parametrize("function", KEYS)
def test_a_key_stays_as_it_is(function: str) -> None:
    arguments, key = KEYS[function]
    assert getattr(layout, function)(*arguments) == key


def test_what_stands_for_all_is_said() -> None:
    assert layout.part_key(NAME, "all", "", DIGEST) == f"books/text/v2/parts/all/all-{HALF}.parquet"
    assert layout.passages_folder(RUN) == f"{RUN}/passages"


def test_every_key_is_here() -> None:
    functions = {name for name, value in vars(layout).items()
                 if callable(value) and value.__module__ == layout.__name__}  # fmt: skip
    assert functions == set(KEYS)
