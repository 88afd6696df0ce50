#!/bin/bash
# Fuzzes what others send us: fuzz/run.sh [TARGET|all] [SECONDS]
#
# Needs the nightly toolchain and a C++ compiler, not cargo-fuzz (whose layout this is all the
# same). Without a sanitizer: the code under test is safe Rust, so what can be found are panics,
# overflows, assertions, hangs and hunger for memory. New inputs go to fuzz/grown/TARGET, findings
# to fuzz/artifacts/TARGET; committed is only the small fuzz/corpus/TARGET.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

triple=$(rustc +nightly -vV | sed -n 's/^host: //p')
targets=${1:-all}
seconds=${2:-60}
[[ $targets != all ]] || targets=$(sed -n 's/^name = "\([a-z_]*\)"$/\1/p' Cargo.toml)

# Counters for each edge and traced comparisons: what libFuzzer steers by. Given with --target, so
# that build scripts and macros stay as they are.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 \
  -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"

for target in $targets; do
  cargo +nightly build --release --target "$triple" --bin "$target"
  mkdir -p "grown/$target" "artifacts/$target"
  echo "== $target, $seconds s"
  "target/$triple/release/$target" -max_total_time="$seconds" -max_len=8192 -timeout=5 \
    -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="artifacts/$target/" \
    "grown/$target" "corpus/$target"
done
