"""A collection file that uses most of what there is, and ways to change it."""

from __future__ import annotations

from collections.abc import Callable

from commonspace.pipeline.config.collection import Collection

GOOD = """
[collection]
name = "books"
owner = "search-team"
schedule = "@daily"
description = "Books: é 🐳"
promote = "manual"
keep_releases = 5

[source]
kind = "parquet"
uri = "raw/day={partition}/*.parquet"
id = "book_id"
image_root = "covers"

[source.metadata]
title = "string"
pages = "int64"

[[space]]
name = "blurb"
version = 2
encoder = "./model"
fields = ["title", "blurb"]

[[space]]
name = "blurb"
encoder = "hashed/64"
fields = ["blurb"]

[[space]]
name = "cover"
encoder = "torchvision/resnet50"
weights = "weights/net.safetensors"
image = "cover_path"

[gates]
max_reject_share = 0
max_deleted_share = 1.0
max_duplicate_vectors = 0.1
max_drift = 1.0
min_golden_recall = 0.5
spot_rows = 4
min_index_recall = 0.9

[run]
shard_rows = 100
"""
Load = Callable[[str | bytes], Collection]
Mistakes = Callable[[str | bytes], list[str]]


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)
