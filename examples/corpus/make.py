#!/usr/bin/env python3
"""Makes wordnet.ndjson and LICENSE from the Debian package wordnet-base (WordNet 3.0).

    apt-get download wordnet-base
    dpkg -x wordnet-base_*.deb wordnet
    python3 make.py wordnet

One document a line, in the shape that arrwdb ingests: a noun, its definition and, as a second
text, the phrases that show it in use. The same package gives the same bytes.
"""

import json
import pathlib
import re
import sys

# Which lexicographer files (lexnames(5WN)) are read, and how many documents each may give.
KINDS = {
    "04": ("act", 450),
    "05": ("animal", 500),
    "06": ("artifact", 700),
    "08": ("body", 200),
    "09": ("cognition", 400),
    "11": ("event", 200),
    "12": ("feeling", 120),
    "13": ("food", 250),
    "17": ("object", 250),
    "18": ("person", 450),
    "19": ("phenomenon", 150),
    "20": ("plant", 400),
    "22": ("process", 150),
    "23": ("quantity", 100),
    "25": ("shape", 60),
    "26": ("state", 350),
    "27": ("substance", 300),
}
DEFINITION_CHARACTERS_MIN = 40

# What WordNet says of words that would only hurt here.
LEFT_OUT = re.compile(r"offensive|disparag|derogatory|slur|vulgar|obscen")


def counts(path):
    """How often each sense was met in WordNet's tagged texts, by sense key (cntlist(5WN))."""
    return {key: int(n) for key, _, n in map(str.split, path.read_text("utf-8").splitlines())}


def synsets(path, met):
    """Yields (offset, kind, lemmas, offset of the first hypernym, definition, phrases, times met)."""
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("  "):  # the licence
            continue
        data, gloss = line.split(" | ", 1)
        fields = data.split()
        words = int(fields[3], 16)
        lemmas = [fields[4 + 2 * i].replace("_", " ") for i in range(words)]
        keys = (
            f"{fields[4 + 2 * i].lower()}%1:{fields[1]}:{int(fields[5 + 2 * i], 16):02}::"
            for i in range(words)
        )
        pointers = fields[5 + 2 * words :]
        hypernym = next((b for a, b in zip(pointers, pointers[1:]) if a in ("@", "@i")), None)
        phrases = re.findall(r'"([^"]+)"', gloss)
        definition = gloss.split('"', 1)[0].strip(" ;:")
        times = sum(met.get(key, 0) for key in keys)
        yield fields[0], fields[1], lemmas, hypernym, definition, phrases, times


def main():
    root = pathlib.Path(sys.argv[1])
    here = pathlib.Path(__file__).parent
    wordnet = root / "usr/share/wordnet"
    every = list(synsets(wordnet / "data.noun", counts(wordnet / "cntlist.rev")))
    names = {offset: lemmas[0] for offset, _, lemmas, *_ in every}
    documents = []
    for kind, (name, most) in KINDS.items():
        mine = [
            s
            for s in every
            if s[1] == kind
            and len(s[4]) >= DEFINITION_CHARACTERS_MIN
            and not LEFT_OUT.search(s[4])
        ]
        # Those that are most used first, then those that are shown in use.
        mine.sort(key=lambda s: (-s[6], not s[5], -len(s[4]), s[0]))
        for offset, _, lemmas, hypernym, definition, phrases, _ in mine[:most]:
            documents.append({
                "id": f"wordnet-3.0/noun/{offset}",
                "title": lemmas[0],
                "texts": [definition] + (["; ".join(phrases)] if phrases else []),
                "document_type": "definition",
                "tags": ["noun", name],
                "metadata": {"kind": name, "is_a": names.get(hypernym, ""), "synonyms": lemmas[1:]},
            })
    documents.sort(key=lambda document: document["id"])
    with open(here / "wordnet.ndjson", "w", encoding="utf-8", newline="\n") as out:
        for document in documents:
            print(json.dumps(document, ensure_ascii=False, separators=(",", ":")), file=out)
    copyright_file = root / "usr/share/doc/wordnet-base/copyright"
    licence = copyright_file.read_text("utf-8").split("\nFiles: debian/*", 1)[0]
    (here / "LICENSE").write_text(licence + "\n", "utf-8")
    print(len(documents), "documents", file=sys.stderr)


if __name__ == "__main__":
    main()
