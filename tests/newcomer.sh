#!/usr/bin/env bash
# What a newcomer does: build, run the examples, look at the hub. Ends with 0 when real data of this
# host arrived and the login page opens in a real browser. Needs curl, jq and chromium; with
# CI=true a missing one is a failure, otherwise it is said and left out.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
agent=
finish() {
  if [ -n "$agent" ] && kill -TERM "$agent" 2>/dev/null; then wait "$agent" || true; fi
  rm -rf "$work"
}
trap finish EXIT

cargo build --release --locked

# The examples as they are, but for a data folder and a port of our own.
cp -r examples "$work/examples"
chmod -R go-w "$work"
[ "$(grep -c '^\[agent\]' "$work/examples/talaia.toml")" -le 1 ]
if grep -q '^\[agent\]' "$work/examples/talaia.toml"; then
  sed -i "s|^\[agent\].*|&\ndata_dir = \"$work/data\"|" "$work/examples/talaia.toml"
else
  printf '[agent]\ndata_dir = "%s"\n' "$work/data" |
    cat - "$work/examples/talaia.toml" >"$work/both" && mv "$work/both" "$work/examples/talaia.toml"
fi
target/release/talaia run --config "$work/examples/talaia.toml" --listen 127.0.0.1:0 2>"$work/log" &
agent=$!

for tool in curl jq chromium; do
  if ! command -v "$tool" >/dev/null; then
    echo "SKIPPED: no $tool, so the hub is not looked at"
    [ "${CI:-}" = true ] && exit 1
    exit 0
  fi
done

credentials=$work/data/hub/credentials.json
for _ in $(seq 150); do
  [ -s "$credentials" ] && break
  sleep 0.2
done
url=$(jq -r .url "$credentials")
key=$(jq -r .key "$credentials")
get() { curl -sf --max-time 10 -H "Authorization: Bearer $key" "$url$1"; }

ask='/api/v1/series?limit=1000'
for _ in $(seq 150); do
  names=$(get "$ask" | jq -r '.items[].name' 2>/dev/null || true)
  plugins=$(get "$ask" | jq -r '[.items[].plugin] | unique | length' 2>/dev/null || echo 0)
  missing=
  for name in tcp_packets_in tcp_packets_out udp_packets_in udp_packets_out; do
    grep -qx "$name" <<<"$names" || missing="$missing $name"
  done
  [ -z "$missing" ] && [ "$plugins" -ge 8 ] && break
  sleep 0.2
done
if [ -n "$missing" ] || [ "$plugins" -lt 8 ]; then
  echo "after 30 s: $plugins plugins, missing:$missing"
  cat "$work/log"
  exit 1
fi
echo "$plugins plugins report, the four packet counters among them"

link=$(target/release/talaia hub login --config "$work/examples/talaia.toml")
page=$(chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
  --disable-background-networking --disable-component-update --disable-sync \
  --user-data-dir="$work/browser" --dump-dom "$link" 2>/dev/null)
grep -q '<button' <<<"$page" || { echo "no button on the login page:"; echo "$page"; exit 1; }
echo "the login page opens in a browser"

kill -TERM "$agent"
wait "$agent"
agent=
echo "the agent stopped in order"
