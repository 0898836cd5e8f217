//! A call over a WebSocket in a real browser, with a fake microphone and real worklets: against a real relay, and, where
//! that would not do on demand what is looked at, against a script. The scenarios are in JavaScript
//! (`tests/browser/rung.js`).

#![cfg(all(target_family = "wasm", feature = "voice"))]

#[macro_use]
mod support;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

scenarios! {
    it_connects_speaks_and_is_heard = "rungConnects",
    webrtc_that_does_not_get_through_falls_back = "rungIsFallenBackTo",
    a_call_is_switched_with_its_conversation = "rungIsSwitchedTo",
    an_answer_is_cut_off_where_it_was_heard = "rungIsInterrupted",
    whoever_speaks_is_not_talked_over = "rungGivesWay",
    muted_is_silent_and_push_to_talk_is_whole = "rungIsPushToTalk",
    a_microphone_is_changed_and_unplugged = "rungChangesItsMicrophone",
    holes_are_counted = "rungHasHoles",
    a_network_that_takes_nothing_is_noticed = "rungIsStuck",
    a_lost_socket_comes_back = "rungComesBack",
    worklets_that_are_not_to_be_had_are_named = "rungHasNoWorklets",
    refused_autoplay_is_told_and_a_click_mends_it = "rungWaitsForAGesture",
    it_can_be_given_up_anywhere = "rungIsGivenUpAnywhere",
    it_leaves_nothing = "rungsLeaveNothing",
}
