#!/bin/bash
# Builds a program that says what kstatus makes of an object, once per version. Prints its path on the last line.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SRC=$HERE/kstatus
DIR=$CACHE/kstatus/$(hash_of "$SRC/go.mod" "$SRC/go.sum" "$SRC/main.go" "$(go env GOARCH)")

build() {
  rm -rf "$DIR.part"
  mkdir -p "$DIR.part"
  (cd "$SRC" && GOWORK=off GOFLAGS= CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$DIR.part/" .)
  mv "$DIR.part" "$DIR"
  keep_newest 2 "$CACHE"/kstatus/*
}

[ -d "$DIR" ] || step "build kstatus" build
echo "$DIR/kstatus"
