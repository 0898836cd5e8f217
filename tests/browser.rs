//! The browser side against a real relay and a plain-dialect server, in a real browser. The scenarios are in
//! JavaScript beside this file; each ends with nothing live in the browser.

#![cfg(target_family = "wasm")]

#[macro_use]
mod support;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

scenarios! {
    // tests/browser/plain.js
    a_plain_server_works = "plainServer",
    hostile_frames_do_no_harm = "hostileFrames",
    // tests/browser/orders.js
    an_order_makes_the_round_trip = "roundTrip",
    the_outbox_survives_a_cut = "outboxAcrossACut",
    optimistic_changes_are_an_overlay = "optimisticOverlay",
    // tests/browser/lifetime.js
    five_hundred_rounds_leave_nothing = "fiveHundredRounds",
    three_thousand_services_leave_no_memory = "servicesLeaveNoMemory",
    callbacks_may_do_anything = "callbacksDoAnything",
    failing_callbacks_are_reported_and_delivery_goes_on = "callbackFailuresAreReported",
    aborts_before_during_and_after = "aborts",
    what_a_handle_holds_goes_with_it = "handlesAreFreed",
    leases_share_one_socket = "leases",
    refused_auth_ends_in_error_and_a_new_token_leads_out = "authEnds",
    many_events_leave_the_page_room = "manyEventsLeaveThePageRoom",
    a_full_socket_is_waited_for = "aFullSocketIsWaitedFor",
    // tests/browser/stored.js
    an_outbox_outlives_its_service = "storedAcrossServices",
    what_a_service_leaves_another_inherits = "storedInherits",
    what_is_refused_for_good_is_set_aside = "storedPoison",
    what_is_too_old_is_reported_and_not_sent = "storedTooOld",
    without_storage_memory_has_to_do = "storedWithout",
    sixty_stored_services_leave_nothing = "storedRounds",
    // tests/browser/pool.js
    a_pool_delivers_once_whatever_is_cut = "poolOnce",
    a_hundred_and_fifty_pools_leave_nothing = "poolRounds",
    a_thousand_pools_leave_no_memory = "poolsLeaveNoMemory",
    a_pools_callbacks_may_do_anything = "poolCallbacks",
}
