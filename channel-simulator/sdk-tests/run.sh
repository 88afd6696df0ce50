#!/usr/bin/env bash
# Runs the SDK tests against a freshly built simulator: node and npm are needed, and for the first
# run (or after the lock file changed) npm's registry. Leaves nothing running behind.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
node_major_min=20

fail() {
  echo "sdk-tests: $*" >&2
  exit 1
}

for tool in node npm cargo; do
  command -v "$tool" >/dev/null || fail "$tool is not installed (Debian: apt-get install nodejs npm)"
done
node_major=$(node --print 'process.versions.node.split(".")[0]')
[ "$node_major" -ge "$node_major_min" ] || fail "node $node_major is too old, $node_major_min is needed"

# npm ci starts from nothing each time; a stamp beside what it installed says for which lock file.
stamp="$here/node_modules/.installed-for"
lock=$(sha256sum "$here/package-lock.json" | cut -d ' ' -f 1)
if [ "$(cat "$stamp" 2>/dev/null)" != "$lock" ]; then
  (cd "$here" && npm ci --no-audit --no-fund --loglevel=error)
  echo "$lock" >"$stamp"
fi

if [ -z "${SIMULATOR:-}" ]; then
  (cd "$root" && cargo build --locked --quiet -p channel-simulator)
  SIMULATOR=${CARGO_TARGET_DIR:-$root/target}/debug/channel-simulator
fi
[ -x "$SIMULATOR" ] || fail "$SIMULATOR cannot be run"
export SIMULATOR

# A test that fails, or is killed, may leave its simulator behind: all of them live in a process
# group of their own, which is ended with this script.
set -m
(cd "$here" && exec node --test) &
tests=$!
trap 'kill -- "-$tests" 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
wait "$tests"
