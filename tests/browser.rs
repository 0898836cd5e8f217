//! The browser side against a real relay and a plain-dialect server, in a real browser. The scenarios are in
//! JavaScript beside this file; each ends with nothing live in the browser.

#![cfg(target_family = "wasm")]

mod support;

use js_sys::Promise;
use support::{classes, play, ready};
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

/// Declares the scenarios of a file and a test for each.
macro_rules! scenarios {
    ($file:literal: $($(#[$meta:meta])* $name:ident = $js:ident,)*) => {
        #[wasm_bindgen(module = $file)]
        extern "C" {
            $(fn $js(classes: &JsValue) -> Promise;)*
        }
        $(
            $(#[$meta])*
            #[wasm_bindgen_test]
            async fn $name() -> Result<(), JsValue> {
                ready();
                play($js(&classes())).await
            }
        )*
    };
}

scenarios! { "/tests/browser/plain.js":
    a_plain_server_works = plainServer,
    hostile_frames_do_no_harm = hostileFrames,
}
