"""Checks the headers and tables of a JPEG, segment by segment, and refuses unusual ones.

Strict where decoders differ: what one takes for an error, another may decode to something. After
ITU-T T.81, B.2.2 (frames), B.2.3 (scans), B.2.4 (tables), C.2 (codes) and G.1.1.1 (progression).
"""

from __future__ import annotations

from dataclasses import dataclass, field

_BASELINE, _PROGRESSIVE = 0xC0, 0xC2
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_HUFFMAN, _QUANTISATION, _SCAN, _JFIF, _ADOBE = 0xC4, 0xDB, 0xDA, 0xE0, 0xEE
_NOTES, _RESTARTS = frozenset({*range(0xE0, 0xF0), 0xFE}), 0xDD
_SAMPLINGS = (0x11, 0x21, 0x22, 0x12, 0x41)
"""Of luminance, where those of colour are 1 × 1: 4:4:4, 4:2:2, 4:2:0, 4:4:0, 4:1:1."""


@dataclass
class JpegStructure:
    """What the segments so far have defined.

    Attributes:
        progressive: whether the frame is; else it is baseline.
        channels: the number of each channel's quantisation table, by the channel's name.
        scans: how many there were.
        quantisation: the numbers of the quantisation tables.
        huffman: class and number of each Huffman table, class 0 for DC and 1 for AC.
        jfif: whether there is a JFIF header.
        adobe: the colour transform of Adobe's segment, None without one.
    """

    progressive: bool = False
    channels: dict[int, int] = field(default_factory=dict)
    scans: int = 0
    quantisation: set[int] = field(default_factory=set)
    huffman: set[tuple[int, int]] = field(default_factory=set)
    jfif: bool = False
    adobe: int | None = None

    def accept(self, marker: int, payload: bytes) -> bool:
        """Take the next segment; returns whether every decoder reads it alike."""
        if marker in _FRAMES:
            return not self.channels and self._frame(marker, payload)
        if marker == _SCAN:
            return self._scan(payload)
        if marker == _HUFFMAN:
            return self._huffman(payload)
        if marker == _QUANTISATION:
            return self._quantisation(payload)
        self.jfif |= marker == _JFIF and payload.startswith(b"JFIF\0")
        if marker == _ADOBE and payload.startswith(b"Adobe"):
            self.adobe = payload[11] if len(payload) > 11 else 0
        return marker in _NOTES or (marker == _RESTARTS and len(payload) == 2)

    @property
    def is_plain(self) -> bool:
        """Whether there is a picture that is grey or YCbCr, with no sign that it is RGB."""
        if not self.scans or len(self.channels) == 1:
            return self.scans > 0
        if self.adobe is not None:
            return self.adobe == 1
        return self.jfif or list(self.channels) == [1, 2, 3]

    def _frame(self, marker: int, payload: bytes) -> bool:
        if marker not in (_BASELINE, _PROGRESSIVE) or len(payload) < 6 or payload[0] != 8:
            return False
        channels = [payload[at : at + 3] for at in range(6, len(payload), 3)]
        if len(channels) != payload[5] or any(len(channel) < 3 for channel in channels):
            return False
        self.progressive = marker == _PROGRESSIVE
        self.channels = {name: table for name, _, table in channels}
        samplings = [sampling for _, sampling, _ in channels]
        if len(samplings) == 1:
            return samplings == [0x11]
        return (
            len(self.channels) == 3 and samplings[0] in _SAMPLINGS and samplings[1:] == [0x11] * 2
        )

    def _scan(self, payload: bytes) -> bool:
        self.scans += 1
        number = payload[0] if payload else 0
        names, tables = payload[1 : 1 + 2 * number : 2], payload[2 : 2 + 2 * number : 2]
        if len(payload) != 4 + 2 * number or not self._known(names):
            return False
        first, last, bits = payload[-3:]
        dc, ac = first == 0, first > 0 or not self.progressive
        if self.progressive:
            fits = _progresses(number, first, last, bits >> 4, bits & 15)
            dc = dc and bits < 16  # a refinement of DC is raw bits, without a Huffman code
        else:
            fits = (first, last, bits) == (0, 63, 0) and number == len(self.channels)
            fits = fits and self.scans == 1
        needed = {(0, table >> 4) for table in tables if dc} | {(1, t & 15) for t in tables if ac}
        return fits and needed <= self.huffman

    def _known(self, names: bytes) -> bool:
        """Whether a scan's channels are the frame's, each once, and have their tables."""
        if not names or len(set(names)) < len(names) or not set(names) <= self.channels.keys():
            return False
        return {self.channels[name] for name in names} <= self.quantisation

    def _quantisation(self, payload: bytes) -> bool:
        while payload:
            if payload[0] > 3 or len(payload) < 65 or 0 in payload[1:65]:
                return False
            self.quantisation.add(payload[0])
            payload = payload[65:]
        return True

    def _huffman(self, payload: bytes) -> bool:
        while payload:
            kind, number = payload[0] >> 4, payload[0] & 15
            counts = payload[1:17]
            symbols = payload[17 : 17 + sum(counts)]
            if kind > 1 or number > 3 or len(counts) < 16 or len(symbols) < sum(counts):
                return False
            if not symbols or not _is_prefix_code(counts) or (kind == 0 and max(symbols) > 11):
                return False
            self.huffman.add((kind, number))
            payload = payload[17 + sum(counts) :]
        return True


def _progresses(channels: int, first: int, last: int, high: int, low: int) -> bool:
    """Whether a progressive scan is of DC or of one channel's AC, and new or one bit finer."""
    band = last == 0 if first == 0 else first <= last <= 63 and channels == 1
    return band and low <= 13 and high in (0, low + 1)


def _is_prefix_code(counts: bytes) -> bool:
    """Whether so many codes of each length, 1 to 16 bits, exist without one of ones only."""
    free = 1
    for count in counts:
        free = 2 * free - count
        if free < 1:
            return False
    return True
