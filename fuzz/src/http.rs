//! HTTP bodies: what is read of them, that the log takes what was read, and that an order survives its own storing.

use crate::kit::Kit;
use tautline_machine::relay::{Answer, Class};
use tautline_protocol::Dialect;
use tautline_protocol::order::Order;
use tautline_protocol::request::{self, Command, Request, http};

/// All that an event is ever encoded as.
const DRESSES: [(Dialect, Class); 4] = [
    (Dialect::V1, Class::Staff),
    (Dialect::V1, Class::Public),
    (Dialect::Plain, Class::Staff),
    (Dialect::Plain, Class::Public),
];

/// First byte: which body; then its text, after the ids of the path where there are any (a line each).
pub(crate) fn run(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    // A body that is no UTF-8 is refused before it is read.
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    match kind {
        b'c' => create(text),
        b'p' => publish(text),
        b's' => {
            let (order, body) = text.split_once('\n').unwrap_or((text, ""));
            judged(http::status(order, body));
        }
        b'i' => {
            let (order, rest) = text.split_once('\n').unwrap_or((text, ""));
            let (item, body) = rest.split_once('\n').unwrap_or((rest, ""));
            judged(http::item_status(order, item, body));
        }
        _ => {}
    }
}

fn create(body: &str) {
    let by_http = http::create(body);
    // The same order by the socket: the same command under the same hash, wherever the frame's nesting leaves room.
    let frame = format!(
        r#"{{"type":"order:create","id":"k","payload":{{"order":{}}}}}"#,
        body.trim()
    );
    if let Ok(mut requests) = request::parse(&frame, false)
        && let Some(Ok(Request::Command {
            command,
            key: Some(key),
            ..
        })) = requests.pop()
        && let Ok((same, hash)) = &by_http
    {
        assert_eq!((&command, key.hash), (same, *hash), "one order, two ways");
    }
    judged(by_http);
}

fn publish(body: &str) {
    let read = http::publish("grow", body);
    if let Ok((Command::Publish { payload, .. }, _)) = &read {
        assert!(is_json(payload), "{payload}");
    }
    judged(read);
}

/// What was understood goes through the log of a restaurant that has an order already.
fn judged(read: Result<(Command, u128), String>) {
    let (command, hash) = match read {
        Ok(read) => read,
        Err(why) => {
            assert!(!why.is_empty(), "a refusal without a word");
            return;
        }
    };
    let mut kit = Kit::new();
    kit.order();
    let (waiter, now) = kit.judge_as("ann", Some(("k", hash)), &command);
    let answers = kit.commit();
    let first = now.unwrap_or_else(|| answers.into_iter().find(|(w, _)| *w == waiter).unwrap().1);
    if let Answer::Ack(ack) = &first {
        if let Some(result) = &ack.result {
            assert!(is_json(result), "{result}");
        }
        let (_, again) = kit.judge_as("ann", Some(("k", hash)), &command);
        let Some(Answer::Ack(again)) = again else {
            panic!("the same again gets {again:?}");
        };
        assert_eq!((&again.at, &again.result), (&ack.at, &ack.result));
    }
    shown(&kit);
}

fn is_json(text: &str) -> bool {
    // As a browser reads it: half a surrogate pair is JSON, though no Rust string.
    serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
}

/// Everything that others would be shown is JSON, and every order reads back as what it is.
pub(crate) fn shown(kit: &Kit) {
    for (seq, kind, _, _, frame) in &kit.disk.events {
        assert!(is_json(frame), "{seq} {kind}: {frame}");
        if let Some(event) = kit.log.event(*seq) {
            for (dialect, class) in DRESSES {
                let frame = event.frame(dialect, class);
                assert!(is_json(frame), "{frame}");
            }
        }
    }
    for order in kit.log.orders() {
        let back = Order::from_stored(&order.stored()).unwrap();
        assert_eq!(back, **order, "an order reads back as it was stored");
        assert!(is_json(&order.wire()));
    }
}
