//! Recordings of browsers (`WebSocketService.recording()`) play again natively with the same states and outputs.
//!
//! `TAUTLINE_RECORDING=FILE cargo test -p tautline-machine --test replay given -- --nocapture`, or
//! `cargo xtask replay FILE`, plays one and prints its story.

#![cfg(feature = "client")]
#![allow(
    clippy::expect_used,
    reason = "outside `#[test]` functions too, an expectation that fails is the test's failure"
)]

mod replay_kit;

use replay_kit::play;
use std::path::Path;

#[test]
fn kept() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("tests/recordings") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a recording");
        let played = play(&text, |_| {}).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(played.states.len() > 1, "{}: {played:?}", path.display());
        count += 1;
    }
    assert!(count > 0, "no recording is kept");
}

#[test]
fn given() {
    let Ok(path) = std::env::var("TAUTLINE_RECORDING") else {
        return;
    };
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    match play(&text, |line| println!("{line}")) {
        Ok(played) => println!(
            "played {} inputs; states: {}",
            played.inputs,
            played.states.join(", ")
        ),
        Err(error) => panic!("{path}: {error}"),
    }
}

#[test]
fn what_is_no_recording_says_so() {
    for (text, part) in [
        ("", "no recording"),
        (r#"{"format":2}"#, "format 2"),
        (
            r#"{"format":1,"complete":false,"state":null,"entries":[]}"#,
            "not complete",
        ),
        (
            r#"{"format":1,"complete":true,"config":{},"state":[1,2],"entries":[]}"#,
            "state",
        ),
    ] {
        let error = play(text, |_| {}).expect_err(text);
        assert!(error.contains(part), "{text}: {error}");
    }
}
