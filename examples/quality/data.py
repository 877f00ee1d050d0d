#!/usr/bin/env python3
"""Makes the sets that `cargo run --release --example quality` judges by, from what Debian has.

    python3 data.py FOLDER

Needs apt (of a Debian or a derivative), the package `appstream` for its apt settings, and
`python3-yaml`; downloads some 40 MB. Every set is a folder of two files:

    documents.jsonl   {"id", "title", "text"}
    queries.jsonl     {"id", "text", "relevant": [document id…]}

wordnet           a lemma → the definitions of its synsets, none of which has a word of it
wordnet-any       the same for lemmas of any kind
appstream         an application's summary → its description
appstream-LANG    the same in other languages
packages          a package's synopsis → its description

The same archive gives the same bytes.
"""

import hashlib
import html
import json
import pathlib
import re
import subprocess
import sys

import yaml

DOCUMENTS_MAX = 20_000
QUERIES_MAX = 1_000
LANGUAGES = ["de", "fr", "ru", "ja", "zh_CN", "ko"]


def shuffled(items, key):
    """In an order that depends on nothing but their keys."""
    return sorted(items, key=lambda item: hashlib.sha256(key(item).encode()).digest())


def write(folder, name, documents, queries):
    """Writes a set; queries are pairs of a text and its relevant documents."""
    (folder / name).mkdir(exist_ok=True)
    with open(folder / name / "documents.jsonl", "w", encoding="utf-8") as file:
        for identifier, title, text in documents:
            line = {"id": identifier, "title": title, "text": text}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    with open(folder / name / "queries.jsonl", "w", encoding="utf-8") as file:
        for number, (text, relevant) in enumerate(queries):
            line = {"id": str(number), "text": text, "relevant": sorted(relevant)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    print(f"{name}: {len(documents)} documents, {len(queries)} queries")


def run(*command):
    """The output of a command."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def wordnet(folder):
    """Lemmas and definitions."""
    if not list(folder.glob("wordnet-base_*.deb")):
        subprocess.run(["apt-get", "download", "wordnet-base"], check=True, cwd=folder)
    run("dpkg", "-x", str(next(folder.glob("wordnet-base_*.deb"))), str(folder / "deb"))
    synsets = []
    for kind in ["noun", "verb", "adj", "adv"]:
        path = next((folder / "deb").rglob(f"data.{kind}"))
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("  "):  # the licence
                continue
            data, gloss = line.split(" | ", 1)
            fields = data.split()
            lemmas = [fields[4 + 2 * i].replace("_", " ") for i in range(int(fields[3], 16))]
            lemmas = [re.sub(r"\(.*\)$", "", lemma) for lemma in lemmas]
            # Behind the definition come phrases in quotes, which have the lemma.
            definition = re.split(r'[;:,]?\s*"', gloss, maxsplit=1)[0].strip().rstrip(";").strip()
            if len(definition) >= 20:
                synsets.append((f"{kind}-{fields[0]}", lemmas, definition))
    synsets = shuffled(synsets, lambda synset: synset[0])[:DOCUMENTS_MAX]
    documents = [(identifier, "", definition) for identifier, _, definition in synsets]
    relevant, texts = {}, {}
    for identifier, lemmas, definition in synsets:
        for lemma in lemmas:
            relevant.setdefault(lemma, set()).add(identifier)
            texts.setdefault(lemma, []).append(definition)

    def overlaps(lemma):
        words = re.findall(r"\w+", lemma.lower())
        said = re.findall(r"\w+", " ".join(texts[lemma]).lower())
        return any(
            word[: max(4, len(word) - 3)] == other[: max(4, len(word) - 3)]
            for word in words
            for other in said
        )

    lemmas = shuffled(relevant, lambda lemma: lemma)
    apart = [lemma for lemma in lemmas if not overlaps(lemma)][:QUERIES_MAX]
    write(folder, "wordnet", documents, [(lemma, relevant[lemma]) for lemma in apart])
    some = lemmas[:QUERIES_MAX]
    write(folder, "wordnet-any", documents, [(lemma, relevant[lemma]) for lemma in some])


def lists(folder):
    """Downloads the archive's lists."""
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["apt-get", "-o", "Acquire::Languages=en", "-o", f"Dir::State::lists={folder / 'lists'}"]
        + ["update"],
        check=True,
    )


def contents(folder, pattern):
    """The lists whose names match, in order."""
    for path in sorted((folder / "lists").glob(pattern)):
        yield run("/usr/lib/apt/apt-helper", "cat-file", str(path)).decode("utf-8")


def plain(text):
    """A description without its markup."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text))).strip()


def appstream(folder):
    """Applications in several languages."""
    sets = {language: {} for language in ["C", *LANGUAGES]}
    for content in contents(folder, "*_dists_*_main_dep11_Components-*"):
        for part in re.split(r"^---\n", content, flags=re.MULTILINE):
            if not re.search(r"^Type: (desktop|console|web)-application$", part, re.MULTILINE):
                continue
            component = yaml.load(part, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            for language, found in sets.items():
                name = component["Name"].get(language, component["Name"]["C"])
                summary = component.get("Summary", {}).get(language)
                description = component.get("Description", {}).get(language)
                if summary and description:
                    found[component["ID"]] = (name, plain(summary), plain(description))
    for language, found in sets.items():
        ids = shuffled(found, lambda identifier: identifier)
        documents = [(identifier, found[identifier][0], found[identifier][2]) for identifier in ids]
        queries = {}
        for identifier in ids:
            queries.setdefault(found[identifier][1], set()).add(identifier)
        name = "appstream" if language == "C" else f"appstream-{language}"
        write(folder, name, documents, list(queries.items())[:QUERIES_MAX])


def packages(folder):
    """Packages, one of each description."""
    found, seen = {}, set()
    for content in contents(folder, "*_dists_*_main_i18n_Translation-en*"):
        for part in content.split("\n\n"):
            match = re.match(r"Package: (.*)\nDescription-md5: .*\nDescription-en: (.*)\n", part)
            if match is None:
                continue
            text = re.sub(r"\s+", " ", part[match.end() :].replace("\n .\n", "\n")).strip()
            if len(text) >= 80 and text not in seen:
                seen.add(text)
                found[match[1]] = (match[2], text)
    names = shuffled(found, lambda name: name)[:DOCUMENTS_MAX]
    documents = [(name, name, found[name][1]) for name in names]
    queries = {}
    for name in names:
        queries.setdefault(found[name][0], set()).add(name)
    write(folder, "packages", documents, list(queries.items())[:QUERIES_MAX])


def main():
    """Makes all sets."""
    folder = pathlib.Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    wordnet(folder)
    lists(folder)
    appstream(folder)
    packages(folder)


main()
