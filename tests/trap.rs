//! A trap leaves nothing live. In a module of its own: it is dead afterwards.

#![cfg(target_family = "wasm")]

mod support;

use support::play;
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen_test]
async fn a_trap_leaves_nothing_live() -> Result<(), JsValue> {
    play("trapLeavesNothing").await
}
