#!/usr/bin/env bash
# The vector index beside hnswlib, faiss and usearch, in one run on one machine with the same
# vectors, one search thread each. Installs into target/peers. `benches/peers/index.sh mixture 100000`
# makes vectors; `benches/peers/index.sh texts FOLDER` embeds the lines of its texts.txt
# (benches/texts.py makes some) by the built-in model. `PEERS=hnswlib` for some of the peers;
# `FILTERS=no` leaves out what arrwdb is measured for alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
kind="${1:-mixture}" what="${2:-100000}"
peers="$PWD/target/peers" set="$PWD/target/peers/set"
mkdir -p "$set"
[ -x "$peers/venv/bin/python" ] || python3 -m venv "$peers/venv"
"$peers/venv/bin/python" -m pip install -q --disable-pip-version-check \
  numpy faiss-cpu==1.15.1 usearch==2.26.6 hnswlib==0.8.0
embed=()
case "$kind" in
  mixture) "$peers/venv/bin/python" benches/peers/index.py make "$set" "$what" ;;
  texts) cp "$what/texts.txt" "$set/texts.txt"; embed=(--embed) ;;
  *) echo "mixture ROWS or texts FOLDER" >&2; exit 2 ;;
esac
ours() { ARRWDB_BENCH_FILTERS="${FILTERS:-yes}" cargo bench --locked --bench graphs -- "$@"; }
{
  ours "$set" "${embed[@]}"
  "$peers/venv/bin/python" benches/peers/index.py compare "$set"
  FILTERS=no ours "$set"
} | tee "$set/figures.txt"
"$peers/venv/bin/python" benches/peers/index.py table "$set/figures.txt"
