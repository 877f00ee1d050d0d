"""Texts for the benches of the index, one a line, each once, in an order that is the same each time.

    python3 benches/texts.py debian FOLDER     paragraphs of the descriptions of Debian's packages
    python3 benches/texts.py wordnet FOLDER    glosses and examples of WordNet

Writes FOLDER/texts.txt, of at most ARRWDB_BENCH_ROWS (100000) texts and a thousand more that
become queries. On Debian, after `apt-get update -o Acquire::Languages=en`; wordnet downloads the
package wordnet-base.
"""

import glob
import os
import random
import subprocess
import sys
import tempfile


def debian():
    lists = glob.glob("/var/lib/apt/lists/*_main_i18n_Translation-en*")
    if not lists:
        raise SystemExit("no descriptions: apt-get update -o Acquire::Languages=en")
    command = ["/usr/lib/apt/apt-helper", "cat-file", *sorted(lists)]
    for package in subprocess.check_output(command, text=True).split("\n\n"):
        _, _, description = package.partition("Description-en:")
        for paragraph in description.split("\n .\n"):
            yield paragraph


def wordnet():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.check_call(["apt-get", "download", "wordnet-base"], cwd=folder)
        (package,) = glob.glob(f"{folder}/wordnet-base_*.deb")
        subprocess.check_call(["dpkg-deb", "-x", package, folder])
        for name in ("noun", "verb", "adj", "adv"):
            with open(f"{folder}/usr/share/wordnet/data.{name}") as synsets:
                for synset in synsets:
                    _, _, gloss = synset.partition(" | ")
                    for text in gloss.split(";"):
                        yield text.strip(' "\n')


def main(kind, folder):
    texts = {" ".join(text.split()) for text in {"debian": debian, "wordnet": wordnet}[kind]()}
    texts = sorted(text for text in texts if len(text) >= 12)
    random.Random(42).shuffle(texts)
    texts = texts[: int(os.environ.get("ARRWDB_BENCH_ROWS", "100000")) + 1_000]
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/texts.txt", "w") as file:
        file.writelines(text + "\n" for text in texts)
    print(f"{len(texts)} texts of {sum(map(len, texts)) / len(texts):.0f} characters")


if __name__ == "__main__":
    main(*sys.argv[1:])
