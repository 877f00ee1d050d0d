#!/usr/bin/env bash
# arrwdb beside its peers, in one run on one machine: the same vectors, the same language of client.
# Installs into target/peers. `ROWS=20000 benches/peers/run.sh`, or with names of those to run.
set -euo pipefail
cd "$(dirname "$0")/../.."
peers="$PWD/target/peers"
mkdir -p "$peers/stubs"
[ -x "$peers/venv/bin/python" ] || python3 -m venv "$peers/venv"
"$peers/venv/bin/pip" install -q --disable-pip-version-check \
  chromadb==1.5.9 milvus-lite==3.2.2 pymilvus==3.0.2 qdrant-edge-py==0.9.0 \
  grpcio==1.76.0 grpcio-tools==1.76.0 numpy
"$peers/venv/bin/python" -m grpc_tools.protoc -Iproto \
  --python_out="$peers/stubs" --grpc_python_out="$peers/stubs" proto/arrwdb/v1/*.proto
cargo build --release --locked
PYTHONPATH="$peers/stubs" ANONYMIZED_TELEMETRY=False \
  exec "$peers/venv/bin/python" benches/peers/compare.py "$@"
