//! The targets under libFuzzer; started by `cargo xtask fuzz`. One binary for all, so that one link is enough:
//! `TAUTLINE_FUZZ` names the target.

#![no_main]
#![allow(
    unsafe_code,
    reason = "libFuzzer finds its target by its exported name"
)]

use std::sync::OnceLock;

static RUN: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    RUN.get_or_init(|| {
        let name = std::env::var("TAUTLINE_FUZZ").unwrap_or_default();
        tautline_fuzz::target(&name)
            .unwrap_or_else(|| panic!("TAUTLINE_FUZZ={name}: no such target"))
            .run
    })(data);
});
