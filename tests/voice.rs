//! A call in a real browser, with a fake microphone and real ICE, DTLS and RTP, against a peer in the same page. The
//! scenarios are in JavaScript (`tests/browser/voice.js`); each ends with nothing live in the browser.

#![cfg(all(target_family = "wasm", feature = "voice"))]

#[macro_use]
mod support;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

scenarios! {
    it_connects_and_everything_comes_through = "callConnects",
    each_stage_that_stalls_is_named_and_leaves_nothing = "callStalls",
    unconfirmed_settings_are_told = "callIsUnacknowledged",
    it_can_be_given_up_anywhere = "callIsGivenUpAnywhere",
    what_is_wrong_with_the_microphone_is_named = "callNamesWhatIsWrongWithTheMicrophone",
    a_token_that_is_not_to_be_had_is_named = "callHasNoToken",
    a_borrowed_stream_is_never_stopped = "callBorrowsAStream",
    a_mute_before_the_call_holds = "callIsMutedBeforeItIsMade",
    push_to_talk = "callIsPushToTalk",
    an_unplugged_microphone_is_replaced = "callLosesItsMicrophone",
    a_lost_call_comes_back = "callComesBack",
    refused_autoplay_is_told_and_a_click_mends_it = "callWaitsForAGesture",
    it_ends_with_the_page = "callEndsWithThePage",
    what_its_handle_holds_goes_with_it = "callIsFreed",
    devices_change_within_a_call = "callChangesDevices",
    calls_leave_nothing = "callsLeaveNothing",
}
