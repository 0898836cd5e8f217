#!/bin/sh
# Stands in for rustc on the workspace's crates while `cargo xtask fuzz` builds (RUSTC_WORKSPACE_WRAPPER), so that
# they count what they execute and check their arithmetic. Dependencies are those of the ordinary build.
exec "$@" -Copt-level=2 -Coverflow-checks=on -Cdebug-assertions=on -Ccodegen-units=8 \
  -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares
