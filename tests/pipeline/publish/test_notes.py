"""The notes of publishing as early commits left them."""

from __future__ import annotations

from commonspace.pipeline.publish.notes import PromotionNote, PublishNote


def test_a_note_that_does_not_say_so_promoted_nothing() -> None:
    note = PromotionNote.from_json({"release": 3, "unknown": "to this commit"})
    assert note == PromotionNote(release=3, promoted=False, seconds=None)


def test_they_come_back_as_they_were_stored() -> None:
    promoted = PromotionNote(release=2, promoted=True, seconds=0.5)
    assert PromotionNote.from_json(promoted.to_json()) == promoted
    published = PublishNote(release=4, seconds=1.5)
    assert PublishNote.from_json(published.to_json()) == published
    assert published.to_json() == {"release": 4, "seconds": 1.5}
