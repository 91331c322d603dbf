"""Files that hold no text as they are: archives, documents, pictures, known by their first bytes, and what to do about each."""

from __future__ import annotations

import re

_UNPACK = "unpack it and name the texts in it"
_CONVERT = "save it as plain text first"
_SAVE_ROWS = "save it as CSV first; where a command has --field NAME, that reads a column"
_NAME_IT = "a network is named by -c, or by --init-from"

_KNOWN = [
    (rb"PK\x03\x04(?s:.{22})\x08\0(?s:..)mimetypeapplication/epub", "an EPUB book", _CONVERT),
    (
        rb"PK\x03\x04(?s:.{22})\x08\0(?s:..)mimetypeapplication/vnd\.oasis\.\w+\.spreadsheet",
        "a spreadsheet",
        _SAVE_ROWS,
    ),
    (rb"PK\x03\x04(?s:.{22})\x08\0(?s:..)mimetypeapplication/vnd\.oasis", "an OpenDocument file", _CONVERT),
    (rb"PK\x03\x04(?s:.*)word/", "a Word document", _CONVERT),
    (rb"PK\x03\x04(?s:.*)xl/", "a spreadsheet", _SAVE_ROWS),
    (rb"PK\x03\x04(?s:.*)(\[Content_Types\]|ppt/)", "an Office document", _CONVERT),
    (rb"PK(\x03\x04|\x05\x06|\x07\x08)", "a zip archive", _UNPACK),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document", "save it as plain text, or a spreadsheet as CSV, first"),
    (rb"%PDF-\d", "a PDF document", "pdftotext makes it a text"),
    (rb"\{\\rtf\d", "an RTF document", _CONVERT),
    (rb"\x1f\x8b", "gzip data", "give its name the ending .gz, or unpack it by zcat"),
    (rb"BZh\d(1AY&SY|\x17\x72\x45\x38\x50\x90)", "bzip2 data", "give its name the ending .bz2, or unpack it by bzcat"),
    (rb"\xfd7zXZ\0", "xz data", "give its name the ending .xz, or unpack it by xzcat"),
    (rb"\]\0\0(?s:..)\xff{8}", "lzma data", "unpack it by xzcat"),
    (rb"[\x22-\x28]\xb5\x2f\xfd", "zstd data", "unpack it by zstdcat"),
    (rb"\x04\x22\x4d\x18", "lz4 data", "unpack it by lz4cat"),
    (rb"\x1f\x9d", "compress data", "unpack it by zcat"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (rb"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (rb"(?s:.{257})ustar(\0|  \0)", "a tar archive", _UNPACK),
    (rb"version https://git-lfs\.github\.com/spec/", "a Git LFS pointer", "git lfs pull fetches the file that it stands for"),
    (rb"\0\x05\x16[\0\x07]", "what macOS keeps beside a file", "name the file itself"),
    (rb"SQLite format 3\0", "an SQLite database", "export its texts"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a(?s:.{4})[\x80-\xff]|II\*\0|MM\0\*|RIFF(?s:....)WEBP", "a picture", ""),
    (rb"ID3[\x02-\x04]\0|OggS\0|fLaC\0|RIFF(?s:....)(WAVE|AVI )|\0\0(?s:..)ftyp|\x1aE\xdf\xa3", "sound or film", ""),
    (rb"\x7fELF|MZ(?s:.{56})[\0-\xff]{4}(?s:.*)PE\0\0|\xca\xfe\xba\xbe|\xcf\xfa\xed\xfe", "a program", ""),
    (rb"PAR1", "a Parquet table", "--field NAME reads a column of it, where a command has that option"),
    (rb"\x93NUMPY|\x89HDF\r\n|(?s:.{5})\0\0\0\{\"(__metadata__|[\w.]+\":\{\"dtype)", "a file of numbers", _NAME_IT),
]


def recognised(first: bytes) -> tuple[str, str] | None:
    """What a file is that begins with ``first``, and how to come by a text, empty if there is no way; None if it may be one."""
    for pattern, what, advice in _KNOWN:
        if re.match(pattern, first):
            return f"this is {what}, not text", advice
    return None
