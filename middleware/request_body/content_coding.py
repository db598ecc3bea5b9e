"""Decoding of compressed request bodies: gzip and deflate."""

import zlib

CODINGS = ("gzip", "deflate")
PIECE_BYTES = 262_144
MAX_MEMBERS = 1000  # of one gzip body: empty members cost time but no bytes

GZIP = zlib.MAX_WBITS | 16
RAW_DEFLATE = -zlib.MAX_WBITS
ZLIB_METHOD = 8


class DecodingError(Exception):
    """A body cannot be decoded."""


class Decoder:
    """Incremental decoder whose output pieces are limited to `PIECE_BYTES`, however well the input is compressed."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._input = b""
        self._members = 0
        self._is_in_member = False
        self._decompressor = zlib.decompressobj(GZIP)

    def feed(self, data: bytes) -> None:
        """Append encoded data."""
        self._input += data

    def read(self) -> bytes:
        """Return the next decoded piece; empty if more input is needed.

        Raises:
            DecodingError: if the input is invalid.
        """
        while self._input:
            if not self._is_in_member and not self._begin_member():
                return b""
            try:
                piece = self._decompressor.decompress(self._input, PIECE_BYTES)
            except zlib.error as error:
                msg = f"The body is not valid {self._coding}, which its Content-Encoding declares."
                raise DecodingError(msg) from error
            if self._decompressor.eof:
                self._is_in_member = False
                self._input = self._decompressor.unused_data
            else:
                self._input = self._decompressor.unconsumed_tail
            if piece:
                return piece
        return b""

    def finish(self) -> None:
        """Check that the input is complete.

        Raises:
            DecodingError: if it is truncated.
        """
        if self._is_in_member or self._input:
            msg = f"The {self._coding} body is truncated."
            raise DecodingError(msg)

    def _begin_member(self) -> bool:
        """Start the next gzip member or the deflate stream; return False if more input is needed."""
        if self._members and self._coding == "deflate":
            msg = "The body has data after the end of its deflate stream."
            raise DecodingError(msg)
        if self._members >= MAX_MEMBERS:
            msg = f"The gzip body has more than {MAX_MEMBERS} members."
            raise DecodingError(msg)
        if self._coding == "gzip":
            self._decompressor = zlib.decompressobj(GZIP)
        elif len(self._input) < 2:  # noqa: PLR2004 - the size of a zlib header
            return False
        else:
            self._decompressor = zlib.decompressobj(zlib.MAX_WBITS if _is_zlib(self._input) else RAW_DEFLATE)
        self._members += 1
        self._is_in_member = True
        return True


def _is_zlib(data: bytes) -> bool:
    """Return whether data starts with a zlib header, as `deflate` requires; some clients send raw deflate instead."""
    return data[0] & 0x0F == ZLIB_METHOD and (data[0] << 8 | data[1]) % 31 == 0
