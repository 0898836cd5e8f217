//! A trap leaves nothing live. In a module of its own: it is dead afterwards.

#![cfg(target_family = "wasm")]

#[macro_use]
mod support;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

scenarios! {
    a_trap_leaves_nothing_live = "trapLeavesNothing",
}
