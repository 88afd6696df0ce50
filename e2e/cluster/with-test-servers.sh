#!/usr/bin/env bash
# Runs a command that starts servers for its tests: test-servers.sh has said where they are, and their data lies in
# memory where there is room. On a disk that is busy, as with a build's output, a database waits for seconds at each
# sync, and what a test's database loses with the machine nobody misses.
# What the command leaves behind goes when it ends; after a crash, with the next command.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

MEMORY=/dev/shm
ROOM_MIB=6144
PREFIX=$MEMORY/payment-tests-

remove_what_dead_commands_left() {
  local left
  for left in "$PREFIX"*; do
    [[ -d /proc/${left#"$PREFIX"} ]] || rm -rf "$left"
  done
}

room_in_memory() {
  [[ -w $MEMORY ]] && (($(df --output=avail -BM "$MEMORY" | tail -n 1 | tr -dc 0-9) >= ROOM_MIB))
}

remove_what_dead_commands_left
if room_in_memory; then
  export TMPDIR=$PREFIX$$
  trap 'rm -rf "$TMPDIR"' EXIT
  mkdir -p "$TMPDIR"
fi
set -a
. "$LOCAL/servers.env"
set +a
"$@"
