"""A benchmark's answer, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def show(answer: Mapping[str, Any]) -> None:
    """Print the table, and for images how well decoding and computing overlap."""
    ours = answer["hardware"]
    table = Table(
        title=f"{answer['items']} {answer['modality']}s · {ours['gpu'] or ours['cpu']}, "
        f"{ours['cores']} cores, {ours['peak_fp32_flop_per_second'] / 1e9:,.0f} GFLOP/s measured"
    )
    for column in (
        "contender",
        "items/s",
        "ratio",
        "cosine mean",
        "min",
        "same 10",
        "of peak",
        "MiB",
    ):
        table.add_column(column, justify="left" if column == "contender" else "right")
    for row in answer["contenders"]:
        share, same = row.get("share_of_peak"), row["neighbours"]
        table.add_row(
            row["contender"],
            f"{row['items_per_second']:.1f}",
            f"{row['ratio']:.2f} ({row['ratio_low']:.2f}–{row['ratio_high']:.2f})",
            f"{row['cosine_mean']:.6f}",
            f"{row['cosine_min']:.6f}",
            f"{same:.3f}" if same is not None else "",
            f"{share:.0%}" if share is not None else "",
            f"{row['peak_bytes'] / 2**20:,.0f}",
        )
    console = Console(width=120)
    console.print(table)
    if "overlap" in answer:
        console.print("milliseconds a photo, decode alone, forward alone, both:")
    for name, found in answer.get("overlap", {}).items():
        console.print(
            f"  {name}: {found['decode']:.1f}, {found['forward']:.1f}, {found['whole']:.1f}: "
            f"{found['whole_over_slower']:.2f} x the slower; cores {found['busy']:.0%} busy"
        )
