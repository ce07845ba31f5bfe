"""How files begin: the one table of signatures, and what to say of a file that is not read as an image."""

from __future__ import annotations

import base64
import os
from collections.abc import Collection
from dataclasses import dataclass

SIGNATURES: tuple[tuple[str, dict[int, bytes]], ...] = (
    ("image/png", {0: b"\x89PNG"}),
    ("image/jpeg", {0: b"\xff\xd8\xff"}),
    ("image/gif", {0: b"GIF8"}),
    ("image/webp", {0: b"RIFF", 8: b"WEBP"}),  # RIFF alone may as well be sound (WAV) or video (AVI)
    ("image/bmp", {0: b"BM"}),
    ("image/tiff", {0: b"II*\0"}),
    ("image/tiff", {0: b"MM\0*"}),
    ("image/tiff", {0: b"II+\0"}),  # BigTIFF
    ("image/tiff", {0: b"MM\0+"}),
    ("image/avif", {4: b"ftypavif"}),
    ("image/avif", {4: b"ftypavis"}),
    ("image/heic", {4: b"ftyphei"}),  # heic, heix, heim, heis
    ("image/heic", {4: b"ftyphev"}),  # hevc, hevx, hevm, hevs: sequences
    ("image/heif", {4: b"ftypmif1"}),
    ("image/heif", {4: b"ftypmsf1"}),  # a sequence
    ("image/jxl", {0: b"\0\0\0\x0cJXL \r\n\x87\n"}),
    ("image/jxl", {0: b"\xff\x0a"}),  # a bare codestream
    ("image/jp2", {0: b"\0\0\0\x0cjP  "}),
    ("image/jp2", {0: b"\xff\x4f\xff\x51"}),  # a bare codestream; Pillow calls it the same
    ("image/x-icon", {0: b"\0\0\1\0"}),
    # Two letters are too few to go by: the header of a portable anymap goes on with white space.
    *(
        ("image/x-portable-anymap", {0: b"P%d%b" % (kind, space)})
        for kind in range(1, 7)
        for space in (b"\n", b" ", b"\r", b"\t")
    ),
)
"""Media type, and the bytes that a file of it has at these offsets."""

HEAD_BYTES = 132
"""As many first bytes as any function here looks at."""


def media_type(data: bytes) -> str | None:
    """Media type of an encoded image by its first bytes, such as `image/png`; None for anything unknown."""
    for name, parts in SIGNATURES:
        if all(data.startswith(magic, offset) for offset, magic in parts.items()):
            return name
    return None


def _base64_start(magic: bytes) -> str:
    """The characters of base64 that `magic` alone decides: six bits each, so the last byte may reach into another."""
    return base64.b64encode(magic).decode("ascii")[: len(magic) * 8 // 6]


BASE64_STARTS = tuple(
    _base64_start(parts[0])
    for kind, parts in SIGNATURES
    # A path may well begin with /w, as base64 of a bare JPEG XL does.
    if 0 in parts and kind != "image/jxl"
)
"""How base64 of an image begins, as far as its first bytes are fixed."""


@dataclass(frozen=True)
class UnreadFormat:
    """A kind of file that people keep among their images and documents, and that is not read here as it is."""

    what: str
    remedy: str
    extensions: str
    """Without dots, separated by blanks."""
    signatures: tuple[dict[int, bytes], ...] = ()
    """As in `SIGNATURES`; any of them will do."""
    pillow: str = ""
    """Name of Pillow's format or of a plug-in's, with which it is read after all."""

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


DEVELOP = "develop it to JPEG or PNG first, or extract its embedded preview"

UNREAD_FORMATS = (
    UnreadFormat(
        "HEIC",
        'pip install "jina-clip-integrations[heif]", or convert it to JPEG or PNG',
        "heic heics heif heifs hif",
        ({4: b"ftyphei"}, {4: b"ftyphev"}, {4: b"ftypmif1"}, {4: b"ftypmsf1"}),
        pillow="HEIF",
    ),
    UnreadFormat(
        "AVIF",
        "needs Pillow 11.3 or newer, or convert it to JPEG or PNG",
        "avif avifs",
        ({4: b"ftypavif"}, {4: b"ftypavis"}),
        pillow="AVIF",
    ),
    UnreadFormat(
        "JPEG XL",
        "import a Pillow plug-in for it first (pip install pillow-jxl-plugin; import pillow_jxl), or convert it",
        "jxl",
        ({0: b"\xff\x0a"}, {0: b"\0\0\0\x0cJXL "}),
        pillow="JXL",
    ),
    UnreadFormat(
        "a camera's raw file",
        DEVELOP,
        "3fr ari arw bay cr2 cr3 crw dcr dng erf fff iiq k25 kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf "
        "srw x3f",
        (
            {0: b"II*\0", 8: b"CR"},
            {4: b"ftypcrx"},
            {0: b"II\x1a\0", 6: b"HEAPCCDR"},
            {0: b"FUJIFILMCCD-RAW"},
            {0: b"IIU\0"},
            {0: b"IIRO"},
            {0: b"IIRS"},
            {0: b"MMOR"},
            {0: b"\0MRM"},
            {0: b"FOVb"},
        ),
    ),
    UnreadFormat("a PDF", "render its pages to images first", "pdf", ({0: b"%PDF"},)),
    UnreadFormat(
        "PostScript",
        "it would need another program to run; convert it to PNG",
        "ai eps epsf ps",
        ({0: b"%!PS"}, {0: b"\xc5\xd0\xd3\xc6"}),
    ),
    UnreadFormat("an SVG", "it holds no pixels; render it to PNG first", "svg svgz", ({0: b"<svg"},)),
    UnreadFormat(
        "HTML or XML",
        "it holds no pixels; save its text as .txt or .md, or a screenshot as PNG",
        "htm html mht mhtml xhtml",
        ({0: b"<!"}, {0: b"<html"}, {0: b"<?xml"}),
    ),
    UnreadFormat("a vector drawing", "export it to PNG first", "cdr emf odg vsd vsdx wmf", ({0: b"\xd7\xcd\xc6\x9a"},)),
    UnreadFormat(
        "a layered drawing",
        "export it to PNG first",
        "afphoto clip indd kra ora pdn procreate psb sketch xcf xd",
        ({0: b"gimp xcf"},),
    ),
    UnreadFormat(
        "an office document",
        "export its text to .txt or .md, and its pages or slides to images",
        "doc docm docx epub mobi odp ods odt pages pot potx pps ppsx ppt pptx rtf tex xls xlsm xlsx xps",
        ({0: b"{\\rtf"}, {0: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"}),
    ),
    UnreadFormat("DjVu", "convert its pages to PNG first", "djv djvu", ({0: b"AT&TFORM"},)),
    UnreadFormat("a text in markup", "save it as .txt or .md", "adoc asciidoc org rst textile"),
    UnreadFormat("a message", "save its text as .txt and its attachments as files", "eml mbox msg"),
    UnreadFormat(
        "a video",
        "extract frames as JPEG or PNG first",
        "3gp avi flv m2ts m4v mkv mov mp4 mpeg mpg mts ogv webm wmv",
        (
            {4: b"ftypiso"},
            {4: b"ftypmp4"},
            {4: b"ftypqt"},
            {4: b"ftypM4V"},
            {4: b"ftypavc1"},
            {4: b"ftyp3g"},
            {0: b"RIFF", 8: b"AVI "},
            {0: b"\x1aE\xdf\xa3"},
            {0: b"\0\0\1\xba"},
            {0: b"\0\0\1\xb3"},
        ),
    ),
    UnreadFormat(
        "an image of a measuring instrument",
        "save a view of it as PNG first",
        "bufr czi dcm dicom exr grib hdr lif mrxs nd2 ndpi nii svs",
        ({128: b"DICM"}, {0: b"v/1\1"}, {0: b"#?RADIANCE"}, {0: b"\x89HDF"}, {0: b"GRIB"}, {0: b"BUFR"}),
    ),
    UnreadFormat("JPEG XR", "convert it to JPEG or PNG", "hdp jxr wdp", ({0: b"II\xbc"},)),
    UnreadFormat("BPG or FLIF", "convert it to PNG", "bpg flif", ({0: b"BPG\xfb"}, {0: b"FLIF"})),
    UnreadFormat("an Apple PICT", "convert it to PNG", "pct pict"),
    UnreadFormat(
        "a Git LFS pointer", "the image itself is not here; run git lfs pull", "", ({0: b"version https://git-lfs"},)
    ),
)
"""What is not read, and what to do about it. Where several apply, the first."""

_BY_EXTENSION = {f".{name}": unread for unread in reversed(UNREAD_FORMATS) for name in unread.extensions.split()}

CASELESS_STARTS = (b"<", b"%")
"""First characters of formats whose signatures are words, in capitals or not, maybe after white space."""


def unreadable_reason(name: str = "", head: bytes = b"", *, readable: Collection[str] = ()) -> str | None:
    """Why a file that looks like an image or a document is not read, and the remedy: `a PDF: render its pages …`.

    Args:
        name: Its name, or the extension alone with its dot. Ask only for extensions that no format here has.
        head: Its first `HEAD_BYTES` bytes, if they are known; they are believed more than the name.
        readable: Formats that this Pillow opens (the keys of `PIL.Image.OPEN`), which have no such reason.

    Returns:
        None for what is not known to be an image or a document, and for what can be read.
    """
    extension = os.path.splitext(name)[1].lower() or name.lower()
    found = _unread_by_head(head) or _BY_EXTENSION.get(extension)
    return None if found is None or found.pillow in readable else str(found)


def _unread_by_head(head: bytes) -> UnreadFormat | None:
    text = head.lstrip().lower()
    for unread in UNREAD_FORMATS:
        for parts in unread.signatures:
            start = parts.get(0, b"")
            if start.startswith(CASELESS_STARTS) and text.startswith(start.lower()):
                return unread
            if all(head.startswith(magic, offset) for offset, magic in parts.items()):
                return unread
    return None


def describe_unreadable(head: bytes, *, readable: Collection[str] = ()) -> str:
    """Why Pillow does not know a file that begins like this; `readable` as for `unreadable_reason`."""
    if not head:
        return "an empty file"
    reason = unreadable_reason(head=head, readable=readable)
    if reason is not None:
        return reason
    kind = media_type(head)
    if kind is not None:
        return f"broken or truncated (begins like {kind})"
    if head[4:8] == b"ftyp":
        return "HEIF or video of a kind that this Pillow does not read; convert it to JPEG or PNG"
    return "not an image in a format that Pillow reads (JPEG, PNG, WebP, GIF, BMP, TIFF, …)"
