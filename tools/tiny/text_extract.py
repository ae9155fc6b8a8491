# SPDX-License-Identifier: Apache-2.0
"""Turns one documentation file (HTML, DocBook/Mallard XML, plain text, reStructuredText, Info, POD)
into a list of blocks, and a list of blocks into clean English text.

A block is a pair (kind, text) with kind one of "head", "prose", "item", "term", "pre". Extraction is
purely per file; the removal of repeated paragraphs across files happens in `Assembler`, which sees
every file in one fixed order.
"""
import gzip
import hashlib
import re
import sys
import unicodedata

from lxml import etree, html as lxml_html

sys.setrecursionlimit(4000)

BLOCK_KINDS = {}
for _kind, _tags in {
    "head": "h1 h2 h3 h4 h5 h6 title subtitle",
    "item": "li item listitem",
    "term": "dt term",
    "pre": "pre programlisting screen literallayout",
    "prose": "p para simpara div td th tr table dd section article blockquote body main center dl ul ol "
             "note tip warning caution important chapter sect1 sect2 sect3 page steps list terms "
             "informaltable figure caption html address fieldset details summary",
}.items():
    for _tag in _tags.split():
        BLOCK_KINDS[_tag] = _kind

SKIP_TAGS = set("head script style nav header footer form noscript button select iframe svg math object "
                "info links credit license revhistory indexterm colophon legalnotice textarea".split())
SKIP_CLASSES = re.compile(
    r"(?:^|\s)(?:sidebar|sphinxsidebar|navheader|navfooter|nav|navbar|navigation|related|footer|header|"
    r"breadcrumbs?|toc|contents|toctree-wrapper|menu|genindextable|headerlink|linenos|lineno|copyright|"
    r"legalnotice|hidden|top-nav|sub-nav|skip-nav|bottom-nav|topnav|subnav|headertitle|quicklinks|"
    r"navset[a-z]*|tocset|node|js-stale-cache|search|viewcode-link|release-note|page-footer|memproto|"
    r"memSeparator|directory|mlabels|summary-table|inheritance|tocview|navpath)(?:\s|$)", re.I)

STOPWORDS = set(
    "the of and to a in is that it for on with as are be this by an or not from at if you can which will "
    "when has have but all was any may should must one no only used use also into then than other more "
    "such these they its do does there been so same each your we what how where some using between after "
    "before because while their would could were both them up out most many however".split())
WORD = re.compile(r"[A-Za-z][A-Za-z']*")
SPACE = re.compile(r"\s+")
ODD_CHARS = re.compile("[\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffd\ue000-\uf8ff¶]")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def clean(text):
    """NFC, plain spaces, no invisible or private-use characters."""
    text = unicodedata.normalize("NFC", text.replace("\u00a0", " "))
    return CONTROL.sub("", ODD_CHARS.sub("", text))


def one_line(text):
    return SPACE.sub(" ", clean(text)).strip()


def is_prose(text, min_words=6, min_stop=0.16):
    """English running text: enough words, enough of them function words, mostly letters."""
    words = WORD.findall(text)
    if len(words) < min_words:
        return False
    if sum(w.lower() in STOPWORDS for w in words) < min_stop * len(words):
        return False
    solid = text.replace(" ", "")
    return sum(map(len, words)) >= 0.72 * len(solid)


# ---------------------------------------------------------------------------------------- HTML and XML
class _Walker:
    def __init__(self):
        self.blocks = []
        self.buffer = []
        self.kind = "prose"

    def flush(self):
        text = one_line("".join(self.buffer))
        self.buffer.clear()
        if text:
            self.blocks.append((self.kind, text))

    def walk(self, node):
        tag = node.tag
        if not isinstance(tag, str):  # comment or processing instruction
            return
        tag = tag.rsplit("}", 1)[-1].lower()
        if tag in SKIP_TAGS:
            return
        names = (node.get("class") or "") + " " + (node.get("id") or "")
        if names != " " and SKIP_CLASSES.search(names):
            return
        kind = BLOCK_KINDS.get(tag)
        if tag == "code" and node.getparent() is not None and node.getparent().tag.endswith("page}section"):
            kind = "pre"
        if kind == "pre":
            self.flush()
            text = clean("".join(node.itertext())).expandtabs(8)
            if text.count("\n") > 40:  # a whole text document wrapped in one <pre>
                self.blocks.extend(blocks_from_text(text, "text"))
            else:
                self.blocks.append(("pre", "\n".join(l.rstrip() for l in text.strip("\n").split("\n"))))
            return
        outer = self.kind
        if kind:
            self.flush()
            # A paragraph inside a list item is still that item.
            inside_item = outer == "item" and tag in ("p", "para", "div")
            self.kind = "item" if inside_item else kind
        elif tag == "br":
            self.buffer.append(" ")
        if node.text:
            self.buffer.append(node.text)
        for child in node:
            self.walk(child)
            if child.tail:
                self.buffer.append(child.tail)
        if kind:
            self.flush()
            self.kind = outer


def blocks_from_markup(data, is_xml):
    if is_xml:
        root = etree.fromstring(data, etree.XMLParser(recover=True, resolve_entities=False, no_network=True))
    else:
        try:
            root = lxml_html.document_fromstring(data.decode("utf-8"))
        except (UnicodeDecodeError, ValueError):
            root = lxml_html.document_fromstring(data)
    if root is None:
        return []
    walker = _Walker()
    walker.walk(root)
    walker.flush()
    return walker.blocks


# ----------------------------------------------------------------------------------------- plain text
UNDERLINE = re.compile(r"^([=\-~*^.#+`\"'])\1{2,}$")
BULLET = re.compile(r"^\s*(?:[-*+•o]|\d{1,2}[.)]|\([a-z0-9]\))\s+")
ROLE = re.compile(r":[a-z:+-]+:`([^`<]*?)(?:\s*<[^>]*>)?`")
POD_INLINE = re.compile(r"[BICLFSXE]<([^<>]*)>")


def blocks_from_text(text, flavour):
    if flavour == "info":
        text = re.sub(r"\x1f\n?File:[^\n]*\n", "\n", text)
        text = re.sub(r"\n\* Menu:\n.*?(?=\n\n[^*\s]|\Z)", "\n", text, flags=re.S)
        text = re.sub(r"\x1f\n?(?:Tag Table|Indirect|Local Variables):.*", "", text, flags=re.S)
        text = text.replace("*note ", "see ").replace("::", "")
    elif flavour == "rst":
        text = re.sub(r"^\s*\.\. [^\n]*\n(?:[ \t]+:[^\n]*\n)*", "\n", text, flags=re.M)
        text = ROLE.sub(r"\1", text).replace("``", "`").replace("**", "")
    elif flavour == "pod":
        text = re.sub(r"^=(?:begin|for)\b.*?\n\n", "", text, flags=re.S | re.M)
        text = re.sub(r"^=head\d\s+(.*)$", r"\n\1\n=====\n", text, flags=re.M)
        text = re.sub(r"^=item\s+(?:\*|\d+\.?)?\s*", "- ", text, flags=re.M)
        text = re.sub(r"^=\w+.*$", "", text, flags=re.M)
        for _ in range(3):
            text = POD_INLINE.sub(lambda m: m.group(1).split("|")[0], text)
    blocks = []
    for chunk in re.split(r"\n[ \t]*\n", clean(text.replace("\r\n", "\n").expandtabs(8))):
        lines = [l.rstrip() for l in chunk.split("\n") if l.strip()]
        while len(lines) >= 2 and UNDERLINE.match(lines[1].strip()):
            blocks.append(("head", one_line(lines[0])))
            lines = lines[2:]
        if not lines:
            continue
        if any(BULLET.match(l) for l in lines[1:]) and BULLET.match(lines[0]):
            items = []
            for line in lines:
                if BULLET.match(line) or not items:
                    items.append(line)
                else:
                    items[-1] += " " + line
            blocks.extend(("item", one_line(BULLET.sub("", i))) for i in items)
            continue
        joined = one_line(" ".join(lines))
        if BULLET.match(lines[0]):
            blocks.append(("item", BULLET.sub("", joined)))
        elif is_prose(joined):
            blocks.append(("prose", joined))
        else:
            indent = min(len(l) - len(l.lstrip()) for l in lines)
            blocks.append(("pre", "\n".join(l[indent:] for l in lines)))
    return blocks


FLAVOURS = [
    (re.compile(r"\.(?:html?|xhtml)$"), "html"),
    (re.compile(r"/help/C/.*\.(?:page|xml|docbook)$"), "xml"),
    (re.compile(r"\.info(?:-\d+)?$"), "info"),
    (re.compile(r"\.rst$"), "rst"),
    (re.compile(r"\.pod$"), "pod"),
    (re.compile(r"\.(?:txt|md|text)$"), "text"),
]
UNWANTED = re.compile(
    r"/_sources/|/_static/|/_modules/|/changelog|/copyright$"
    r"|/(?:LICEN[SC]E|COPYING|AUTHORS|THANKS|CHANGES|NEWS)"
    r"|genindex|modindex|/search\.html|index-\d+\.html|class-use/|-index\.html|/source/|/src/|allclasses|"
    r"package-(?:tree|use|frame)|-members\.html|_8h_source|_source\.html|/(?:fdl|gpl|agpl|lgpl)[-.\d]*|/po/|"
    r"whatsnew/v|/releasenotes|release-notes|/list-of-contributors", re.I)
MAX_FILE_BYTES = 8 << 20


def flavour_of(path):
    """The reader for `path` (a path inside a package, without .gz), or None if the file is not wanted."""
    if UNWANTED.search(path):
        return None
    for pattern, name in FLAVOURS:
        if pattern.search(path):
            return name
    return None


def blocks_from_file(file_name, inner_path):
    """Blocks of one file; [] when it is empty, huge or broken."""
    with open(file_name, "rb") as f:
        data = f.read(MAX_FILE_BYTES + 1)
    if file_name.endswith(".gz"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError):
            return []
    if not data or len(data) > MAX_FILE_BYTES:
        return []
    flavour = flavour_of(inner_path)
    try:
        if flavour in ("html", "xml"):
            return blocks_from_markup(data, flavour == "xml")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        return blocks_from_text(text, flavour)
    except (etree.LxmlError, ValueError, RecursionError):
        return []


# -------------------------------------------------------------------------------------- blocks to text
class Assembler:
    """Joins blocks into documents, dropping every paragraph that an earlier document already had.

    Paragraphs are compared by their letters only, so that the same sentence with another version number
    counts as seen. Headings, terms and code are kept only beside running text.
    """

    def __init__(self):
        self.seen = set()
        self.repeated = 0

    def _is_new(self, text):
        letters = re.sub(r"[^a-z]+", "", text.lower())
        key = hashlib.blake2b(letters.encode(), digest_size=8).digest()
        if key in self.seen:
            self.repeated += 1
            return False
        self.seen.add(key)
        return True

    def document(self, blocks, min_chars=500):
        out, pending = [], []
        prose_chars = code_chars = 0
        after_prose = False
        for kind, text in blocks:
            if kind == "head":
                if len(text) <= 120 and re.search("[A-Za-z]{3}", text):
                    pending = [p for p in pending if p[0] == "head"][-1:] + [("head", text)]
                after_prose = False
            elif kind == "term":
                if len(text) <= 200:
                    pending = pending[-2:] + [("term", text)]
                after_prose = False
            elif kind == "pre":
                small = 10 <= len(text) <= 1500 and text.count("\n") <= 30
                ascii_only = text.isascii() and not re.search(r"[-=+_|.*]{30}|[0-9a-fA-F]{40}", text)
                if after_prose and small and ascii_only and code_chars + len(text) <= 0.6 * prose_chars \
                        and self._is_new(text):
                    out.append(("pre", text))
                    code_chars += len(text)
                after_prose = False
            else:
                lenient = kind == "item" and after_prose
                wanted = is_prose(text, 4, 0.10) if lenient else is_prose(text)
                if wanted and len(text) <= 6000 and self._is_new(text):
                    out += pending
                    pending = []
                    out.append((kind, text))
                    prose_chars += len(text)
                    after_prose = True
                elif kind == "prose":
                    after_prose = False
        if prose_chars < min_chars:
            return None
        pieces, previous = [], None
        for kind, text in out:
            if pieces:
                pieces.append("\n" if kind == previous == "item" else "\n\n")
            pieces.append("- " + text if kind == "item" else text)
            previous = kind
        document = "".join(pieces)
        if sum(c > "\u007f" for c in document) > 0.03 * len(document):
            return None
        return document
