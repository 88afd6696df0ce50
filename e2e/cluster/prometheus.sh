#!/bin/bash
# Builds Prometheus and promtool from their Go module, once per version. Prints their folder on the last line.
# Without the discovery of any cloud: tests name their targets, and it is most of what there is to compile.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SRC=$HERE/prometheus
TAGS=remove_all_sd,netgo
BIN=$CACHE/prometheus/$(hash_of "$SRC/go.mod" "$SRC/go.sum" "$TAGS" "$(go env GOARCH)")

build() {
  rm -rf "$BIN.part"
  mkdir -p "$BIN.part"
  (cd "$SRC" && GOWORK=off GOFLAGS= CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags "$TAGS" -ldflags '-s -w' \
    -o "$BIN.part/" github.com/prometheus/prometheus/cmd/{prometheus,promtool})
  mv "$BIN.part" "$BIN"
  keep_newest 2 "$CACHE"/prometheus/*
}

[ -d "$BIN" ] || step "build Prometheus (about 3 minutes the first time)" build
echo "$BIN"
