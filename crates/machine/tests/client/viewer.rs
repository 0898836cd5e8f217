//! Whose set of orders it is: a position says nothing of who was at it.

use crate::support::{Driver, Success, with_token};
use serde_json::json;
use tautline_machine::client::{Input, Timer};

fn seen_as(view: &'static str, success: Success) -> Success {
    Success {
        view: Some(view),
        ..success
    }
}

/// Live with the set of the viewer `ann`, at 7.
fn ann() -> Driver {
    let mut d = Driver::new(with_token());
    d.input(Input::WantOrders(true));
    d.connect();
    d.come_up(&seen_as("ann", Success::at(7)));
    d.snapshot("relay.1", "e1", 7);
    d.forget();
    d
}

/// What the machine does when it comes back, resumed, as this viewer: steps of the set, and syncs asked for.
fn comes_back(d: &mut Driver, view: &'static str) -> (Vec<String>, Vec<serde_json::Value>) {
    d.close(1006);
    d.until(Timer::Backoff);
    d.forget();
    d.come_up(&seen_as(view, Success::resumed(7)));
    (d.set_steps(), d.sent_of("orders:sync"))
}

#[test]
fn a_set_is_kept_by_the_one_who_got_it() {
    let mut d = ann();
    assert_eq!(comes_back(&mut d, "ann"), (vec![], vec![]));
}

#[test]
fn somebody_else_gets_a_set_of_their_own() {
    let mut d = ann();
    let (steps, syncs) = comes_back(&mut d, "bob");
    assert_eq!(steps, ["S"], "what is on screen is not bob's");
    assert_eq!(syncs.len(), 1);
    assert_eq!(syncs[0]["payload"], json!({"request_full_sync":true}));
    d.snapshot("sync-1", "e1", 7);
    assert_eq!(d.set_steps(), ["C1", "I7"]);
    assert_eq!(comes_back(&mut d, "bob"), (vec![], vec![]));
    assert_eq!(comes_back(&mut d, "ann").1.len(), 1, "nor ann's any more");
}

#[test]
fn the_snapshot_that_a_renewal_promised_is_not_forgotten_with_its_connection() {
    let mut d = ann();
    d.frame(seen_as("manager", Success::default()).head(true));
    assert!(d.sent().is_empty(), "the server sends it unasked");
    let (steps, syncs) = comes_back(&mut d, "manager");
    assert_eq!((steps, syncs.len()), (vec!["S".to_owned()], 1));

    let mut d = ann();
    d.frame(seen_as("manager", Success::default()).head(true));
    d.snapshot("relay.2", "e1", 8);
    assert_eq!(d.set_steps(), ["C1", "I8"]);
    assert_eq!(comes_back(&mut d, "manager"), (vec![], vec![]));
}

#[test]
fn a_server_that_does_not_say_is_taken_at_its_resume() {
    let mut d = Driver::live_with_set(7);
    d.close(1006);
    d.until(Timer::Backoff);
    d.forget();
    d.come_up(&Success::resumed(7));
    assert!(d.set_steps().is_empty() && d.sent_of("orders:sync").is_empty());
}
