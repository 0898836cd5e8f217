//! The peer's protocol on one orders socket (`docs/protocol.md` §1, Life of a connection, Commands, Close codes).
#![cfg(feature = "relay")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;
use tautline_machine::Time;
use tautline_machine::relay::session::{Claims, Config, Input, Output, Session, Timer};
use tautline_machine::relay::{Ack, Answer, Moment, Nack, Scope, Viewer};
use tautline_protocol::filter::Filter;
use tautline_protocol::{AuthCode, CloseCode, Dialect, Epoch, NackCode, Role, limits};

/// A session under test: what it sends is kept as values.
struct Peer {
    session: Session,
    ms: u64,
    head: u64,
    spread: u64,
}

#[derive(Debug, Default)]
struct Said {
    frames: Vec<Value>,
    others: Vec<Output>,
    wait: Option<(Time, Timer)>,
}

impl Said {
    fn close(&self) -> Option<CloseCode> {
        self.others.iter().find_map(|output| {
            if let Output::Close(code, _) = output {
                Some(*code)
            } else {
                None
            }
        })
    }

    fn submitted(&self) -> Vec<u64> {
        let number = |output: &Output| {
            if let Output::Submit { number, .. } = output {
                Some(*number)
            } else {
                None
            }
        };
        self.others.iter().filter_map(number).collect()
    }
}

fn claims() -> Claims {
    Claims {
        sub: "ann".into(),
        restaurants: Some(vec!["grow".into()]),
        role: "kitchen".into(),
        order_ids: vec!["o9".into()],
        expires_at: "2026-11-23T18:00:00Z".into(),
        expires_in_ms: 3_600_000,
        issued_at_ms: None,
    }
}

/// Who those claims speak for.
fn scope(role: Role) -> Scope {
    Scope {
        order_ids: Arc::new(["o9".to_owned()].into()),
        ..Scope::new("ann", role)
    }
}

impl Peer {
    fn new() -> Self {
        Self {
            session: Session::new(Arc::new(Config::default())),
            ms: 1_000,
            head: 41,
            spread: 500,
        }
    }

    fn input(&mut self, input: Input<'_>) -> Said {
        let at = Moment {
            now: Time::from_ms(self.ms),
            wall_ms: 1_790_000_000_000 + self.ms,
        };
        self.session.handle(input, at, self.head, self.spread);
        let mut said = Said::default();
        for _ in 0..10_000 {
            match self.session.poll_output() {
                Output::Send(frame) => said.frames.push(serde_json::from_str(&frame).unwrap()),
                Output::Wait(wait) => {
                    said.wait = wait;
                    return said;
                }
                other => said.others.push(other),
            }
        }
        panic!("never waits");
    }

    fn frame(&mut self, frame: &Value) -> Said {
        self.input(Input::Frame(&frame.to_string()))
    }

    fn after(&mut self, ms: u64) -> Said {
        self.ms += ms;
        self.input(Input::Tick)
    }

    /// Opened, authenticated and attached.
    fn live(v1: bool) -> Self {
        let mut peer = Self::new();
        peer.input(Input::Opened { v1: false });
        let mut auth = json!({"type":"auth","token":"t"});
        if v1 {
            auth["protocol"] = json!("tautline.v1");
        }
        peer.frame(&auth);
        peer.input(Input::Verified(Ok(claims())));
        let said = peer.input(Input::Attached {
            epoch: Epoch::new("e1"),
            seq: 41,
            resumed: false,
        });
        assert_eq!(said.frames[0]["type"], "auth:success");
        peer
    }

    fn ack(&mut self, number: u64) -> Said {
        let ack = Ack {
            at: Some((Epoch::new("e1"), 42)),
            result: Some("{}".into()),
        };
        self.input(Input::Answered {
            number,
            answer: Answer::Ack(Arc::new(ack)),
        })
    }
}

fn cancel(id: &str) -> Value {
    json!({"type":"order:cancel","id":id,"payload":{"order_id":"o"}})
}

#[test]
fn a_connection_begins_with_connected_auth_and_a_place_in_the_log() {
    let mut peer = Peer::new();
    let said = peer.input(Input::Opened { v1: false });
    assert_eq!(
        (&said.frames[0]["type"], &said.frames[0]["heartbeat_ms"]),
        (&json!("connected"), &json!(15_000))
    );
    assert_eq!(
        said.wait,
        Some((Time::from_ms(1_000 + limits::AUTH_MS), Timer::Auth))
    );
    let said = peer.frame(&json!({"type":"auth","token":"sesame","protocol":"tautline.v1","resume":{"epoch":"e1","seq":40},"sync":true,
        "subscribe":{"events":["order:*"]}}));
    assert!(
        matches!(&said.others[..], [Output::Verify { token, restaurant_id: None }] if token.expose() == "sesame")
    );
    assert!(
        !format!("{:?} {:?}", said, peer.session).contains("sesame"),
        "a token is never printed"
    );
    let said = peer.input(Input::Verified(Ok(claims())));
    let attach = Output::Attach {
        restaurant_id: "grow".into(),
        viewer: Box::new(Viewer::new(
            Dialect::V1,
            scope(Role::Kitchen),
            Filter::parse(r#"{"events":["order:*"]}"#).unwrap(),
        )),
        resume: Some((Epoch::new("e1"), 40)),
        sync: true,
    };
    assert_eq!(said.others, [attach]);
    let said = peer.input(Input::Attached {
        epoch: Epoch::new("e1"),
        seq: 41,
        resumed: true,
    });
    let success = &said.frames[0];
    assert_eq!(
        (&success["protocol"], &success["seq"], &success["resumed"]),
        (&json!("tautline.v1"), &json!(41), &json!(true))
    );
    assert_eq!(
        (&success["expires_in_ms"], &success["reconnect_spread_ms"]),
        (&json!(3_600_000), &json!(500))
    );
    assert!(
        matches!(said.wait, Some((_, Timer::Ping))),
        "the auth deadline is gone"
    );
    assert_eq!(
        peer.session.identity().map(|who| who.scope.clone()),
        Some(scope(Role::Kitchen))
    );
}

#[test]
fn resume_and_sync_belong_to_v1() {
    let mut peer = Peer::new();
    peer.input(Input::Opened { v1: false });
    peer.frame(
        &json!({"type":"auth","token":"t","resume":{"epoch":"e1","seq":40},"sync":true,
        "subscribe":{"events":["order:*"]}}),
    );
    let said = peer.input(Input::Verified(Ok(claims())));
    let plain = Viewer::new(Dialect::Plain, scope(Role::Kitchen), Filter::default());
    assert!(matches!(
        &said.others[..],
        [Output::Attach {
            viewer,
            resume: None,
            sync: false,
            ..
        }] if **viewer == plain
    ));
    let mut peer = Peer::new();
    peer.input(Input::Opened { v1: true });
    peer.frame(&json!({"type":"auth","token":"t","sync":true}));
    let said = peer.input(Input::Verified(Ok(claims())));
    assert!(
        matches!(
            &said.others[..],
            [Output::Attach {
                viewer,
                sync: true,
                ..
            }] if viewer.dialect() == Dialect::V1
        ),
        "by the subprotocol"
    );
}

#[test]
fn a_refused_auth_says_why_and_closes_by_the_table() {
    let with = |change: fn(&mut Claims)| {
        let mut claims = claims();
        change(&mut claims);
        Ok(claims)
    };
    for (claims, wanted, code, close) in [
        (
            Err(AuthCode::TokenInvalid),
            None,
            "token_invalid",
            CloseCode::POLICY,
        ),
        (
            Err(AuthCode::TokenExpired),
            None,
            "token_expired",
            CloseCode::POLICY,
        ),
        (
            Ok(claims()),
            Some("other"),
            "restaurant_forbidden",
            CloseCode::FORBIDDEN,
        ),
        (
            with(|c| c.restaurants = None),
            Some("no good"),
            "restaurant_forbidden",
            CloseCode::FORBIDDEN,
        ),
        (
            with(|c| c.restaurants = Some(vec!["a".into(), "b".into()])),
            None,
            "restaurant_required",
            CloseCode::FORBIDDEN,
        ),
        (
            with(|c| c.restaurants = None),
            None,
            "restaurant_required",
            CloseCode::FORBIDDEN,
        ),
        (
            with(|c| c.role = "chef".into()),
            None,
            "role_unknown",
            CloseCode::FORBIDDEN,
        ),
    ] {
        let mut peer = Peer::new();
        peer.input(Input::Opened { v1: false });
        peer.frame(&json!({"type":"auth","token":"t","restaurant_id":wanted}));
        let said = peer.input(Input::Verified(claims));
        assert_eq!(
            (&said.frames[0]["type"], &said.frames[0]["code"]),
            (&json!("auth:failed"), &json!(code))
        );
        assert_eq!(said.close(), Some(close), "{code}");
    }
}

#[test]
fn auth_is_the_first_message_and_in_time() {
    for text in [
        "{\"type\":\"ping\"}",
        "{",
        "[{\"type\":\"auth\",\"token\":\"t\"}]",
        "{\"type\":\"auth\"}",
    ] {
        let mut peer = Peer::new();
        peer.input(Input::Opened { v1: false });
        assert_eq!(
            peer.input(Input::Frame(text)).close(),
            Some(CloseCode::POLICY),
            "{text}"
        );
    }
    let mut peer = Peer::new();
    peer.input(Input::Opened { v1: false });
    assert_eq!(peer.after(limits::AUTH_MS - 1).close(), None);
    assert_eq!(peer.after(1).close(), Some(CloseCode::AUTH_TIMEOUT));
    let mut peer = Peer::new();
    peer.input(Input::Opened { v1: false });
    let large = json!({"type":"auth","token":"t","x":"y".repeat(limits::MAX_MESSAGE_BEFORE_AUTH)});
    assert_eq!(peer.frame(&large).close(), Some(CloseCode::TOO_BIG));
}

#[test]
fn what_an_older_client_says_before_auth_success_is_taken_up_after_it() {
    let mut peer = Peer::new();
    peer.input(Input::Opened { v1: false });
    peer.frame(&json!({"type":"auth","token":"t"}));
    assert!(
        peer.frame(&json!({"type":"orders:sync","payload":{"requestFullSync":true}}))
            .others
            .is_empty()
    );
    peer.input(Input::Verified(Ok(claims())));
    let said = peer.input(Input::Attached {
        epoch: Epoch::new("e1"),
        seq: 41,
        resumed: false,
    });
    assert_eq!(said.frames[0]["type"], "auth:success");
    assert_eq!(
        said.others,
        [Output::Sync {
            id: None,
            position: None
        }]
    );
    let mut peer = Peer::new();
    peer.input(Input::Opened { v1: false });
    peer.frame(&json!({"type":"auth","token":"t"}));
    let flood = json!({"type":"x","y":"z".repeat(9_000)});
    assert_eq!(peer.frame(&flood).close(), None);
    assert_eq!(
        peer.frame(&flood).close(),
        Some(CloseCode::TOO_BIG),
        "and no more than one message's worth"
    );
}

#[test]
fn each_frame_with_an_id_gets_one_answer_in_order() {
    let mut peer = Peer::live(true);
    let batch = json!([cancel("a"), {"type":"dance","id":"b"}, cancel("c"), {"type":"dance"}]);
    let said = peer.frame(&batch);
    assert_eq!(
        (said.submitted(), said.frames.len()),
        (vec![0, 2], 0),
        "nothing overtakes the first"
    );
    assert!(peer.ack(2).frames.is_empty());
    let said = peer.ack(0);
    let answers: Vec<_> = said
        .frames
        .iter()
        .map(|f| (f["type"].as_str().unwrap(), f["id"].as_str()))
        .collect();
    assert_eq!(
        answers,
        [
            ("ack", Some("a")),
            ("nack", Some("b")),
            ("ack", Some("c")),
            ("error", None)
        ]
    );
    assert_eq!(
        said.frames[0]["payload"],
        json!({"epoch":"e1","seq":42,"result":{}})
    );
    assert_eq!(said.frames[1]["error"]["outcome"], "not_applied");
    assert_eq!(said.frames[3]["ref_type"], "dance");
}

#[test]
fn the_plain_dialect_is_answered_by_the_event_or_an_error() {
    let mut peer = Peer::live(false);
    let said = peer.frame(&cancel("a"));
    assert_eq!(said.submitted(), [0]);
    assert!(peer.ack(0).frames.is_empty());
    let said = peer.frame(&json!({"type":"order:cancel","payload":{"orderId":"o"}}));
    let answer = Answer::Nack(Nack::new(NackCode::NotFound, "no such order"));
    let said = peer.input(Input::Answered {
        number: said.submitted()[0],
        answer,
    });
    assert_eq!(
        said.frames,
        [
            json!({"type":"error","error":{"code":"not_found","message":"no such order"},"ref_type":"order:cancel"})
        ]
    );
    assert_eq!(
        peer.frame(&json!([cancel("x")])).frames[0]["type"],
        "error",
        "no arrays here"
    );
}

#[test]
fn a_filter_holds_from_the_position_that_its_ack_names() {
    let mut peer = Peer::live(true);
    let said = peer.frame(&json!({"type":"subscribe","id":"f","payload":{"events":["order:*"]}}));
    let [Output::Filter { number, filter }] = &said.others[..] else {
        panic!("{said:?}");
    };
    let said = peer.input(Input::Filtered {
        number: *number,
        at: (Epoch::new("e1"), 41),
        filter: filter.json(),
    });
    assert_eq!(
        said.frames,
        [
            json!({"type":"ack","id":"f","payload":{"epoch":"e1","seq":41,
            "result":{"events":["order:*"],"filters":{}}}})
        ]
    );
    let said = peer.frame(&json!({"type":"unsubscribe","id":"g"}));
    assert!(
        matches!(&said.others[..], [Output::Filter { filter, .. }] if filter.passes_all()),
        "{said:?}"
    );
    let bad = json!({"type":"subscribe","id":"h","payload":{"events":["Order"]}});
    let said = peer.frame(&bad);
    assert!(said.others.is_empty());
    assert!(said.frames.is_empty(), "after the answer to the one before");
}

#[test]
fn a_filter_that_makes_no_sense_in_auth_is_told_and_left_out() {
    let mut peer = Peer::new();
    peer.input(Input::Opened { v1: false });
    peer.frame(
        &json!({"type":"auth","token":"t","protocol":"tautline.v1","subscribe":{"events":7}}),
    );
    let said = peer.input(Input::Verified(Ok(claims())));
    let all = Viewer::new(Dialect::V1, scope(Role::Kitchen), Filter::default());
    assert!(matches!(&said.others[..], [Output::Attach { viewer, .. }] if **viewer == all));
    let said = peer.input(Input::Attached {
        epoch: Epoch::new("e1"),
        seq: 41,
        resumed: false,
    });
    assert_eq!(said.frames[0]["type"], "auth:success");
    assert_eq!(
        (
            &said.frames[1]["error"]["code"],
            &said.frames[1]["ref_type"]
        ),
        (&json!("invalid"), &json!("subscribe"))
    );
}

#[test]
fn a_plain_connection_has_no_filter() {
    let mut peer = Peer::live(false);
    let said = peer.frame(&json!({"type":"subscribe","id":"f","payload":{"events":["order:*"]}}));
    assert!(said.others.is_empty());
    assert_eq!(said.frames[0]["error"]["code"], "invalid");
}

#[test]
fn a_pong_carries_the_ping_s_timestamp_the_head_and_a_changed_spread() {
    let mut peer = Peer::live(true);
    let pong = |peer: &mut Peer| {
        peer.frame(&json!({"type":"ping","payload":{"timestamp":17.25}}))
            .frames
            .remove(0)["payload"]
            .take()
    };
    let first = pong(&mut peer);
    assert_eq!(
        (
            &first["timestamp"],
            &first["seq"],
            first.get("reconnect_spread_ms")
        ),
        (&json!(17.25), &json!(41), None)
    );
    peer.spread = 900;
    peer.head = 44;
    let second = pong(&mut peer);
    assert_eq!(
        (&second["seq"], &second["reconnect_spread_ms"]),
        (&json!(44), &json!(900))
    );
    peer.ms += 2_000;
    assert_eq!(pong(&mut peer).get("reconnect_spread_ms"), None);
    assert!(
        Peer::live(false).frame(&json!({"type":"ping"})).frames[0]["payload"]
            .get("seq")
            .is_none()
    );
    let flood = (0..20)
        .filter(|_| !peer.frame(&json!({"type":"ping"})).frames.is_empty())
        .count();
    assert!(
        flood <= 4,
        "pings over the rate are ignored: {flood} answered"
    );
}

#[test]
fn over_the_rate_is_refused_with_a_wait_and_for_too_long_closes() {
    let mut peer = Peer::live(true);
    for n in 0..limits::RATE_BURST {
        assert_eq!(
            peer.frame(&cancel(&format!("a{n}"))).submitted(),
            [u64::from(n)]
        );
    }
    assert!(
        peer.frame(&cancel("over")).frames.is_empty(),
        "its refusal waits behind the answers due before it"
    );
    let said = (0..u64::from(limits::RATE_BURST))
        .map(|n| peer.ack(n))
        .last()
        .unwrap();
    let nack = said.frames.last().unwrap();
    assert_eq!(
        (&nack["error"]["code"], &nack["error"]["retry_after_ms"]),
        (&json!("rate_limited"), &json!(50))
    );
    peer.ms += 50;
    assert_eq!(peer.frame(&cancel("again")).submitted().len(), 1);
    let closed = (0..250).find_map(|n| peer.frame(&cancel(&format!("b{n}"))).close());
    assert_eq!(closed, Some(CloseCode::RATE_LIMIT));
}

#[test]
fn syncs_are_one_at_a_time_and_five_seconds_apart() {
    let mut peer = Peer::live(true);
    let sync = json!({"type":"orders:sync","id":"s","payload":{"request_full_sync":true}});
    let said = peer.frame(&sync);
    assert_eq!(
        (&said.frames[0]["type"], &said.frames[0]["id"]),
        (&json!("ack"), &json!("s"))
    );
    assert_eq!(
        said.others,
        [Output::Sync {
            id: Some("s".into()),
            position: None
        }]
    );
    peer.ms += limits::SYNC_EVERY_MS + 1;
    assert_eq!(
        peer.frame(&sync).frames[0]["error"]["code"],
        "rate_limited",
        "one is outstanding"
    );
    peer.input(Input::Synced);
    assert_eq!(peer.frame(&sync).others.len(), 1);
    peer.input(Input::Synced);
    let refused = peer.frame(&sync).frames.remove(0);
    assert_eq!(
        (&refused["type"], &refused["error"]["retry_after_ms"]),
        (&json!("nack"), &json!(limits::SYNC_EVERY_MS))
    );
}

#[test]
fn a_renewal_goes_on_undisturbed_and_a_refused_one_never_closes() {
    let mut peer = Peer::live(true);
    let auth = json!({"type":"auth","token":"u"});
    let said = peer.frame(&auth);
    assert!(
        matches!(&said.others[..], [Output::Verify { restaurant_id: Some(grow), .. }] if grow == "grow")
    );
    let mut renewed = claims();
    renewed.role = "manager".into();
    let said = peer.input(Input::Verified(Ok(renewed)));
    let frame = &said.frames[0];
    assert_eq!(
        (&frame["renewal"], frame.get("epoch"), &frame["role"]),
        (&json!(true), None, &json!("manager"))
    );
    assert_eq!(said.others, [Output::Rescope(scope(Role::Manager))]);
    assert_eq!(
        peer.session.identity().unwrap().scope,
        &scope(Role::Manager)
    );
    let refused = peer.frame(&auth).frames.remove(0);
    assert_eq!(
        (&refused["error"]["code"], &refused["ref_type"]),
        (&json!("rate_limited"), &json!("auth"))
    );
    let other = |change: fn(&mut Claims)| {
        let mut claims = claims();
        change(&mut claims);
        Ok(claims)
    };
    for (answer, code) in [
        (Err(AuthCode::TokenExpired), "token_expired"),
        (other(|c| c.sub = "bob".into()), "identity_changed"),
        (
            other(|c| c.restaurants = Some(vec!["other".into()])),
            "identity_changed",
        ),
        (other(|c| c.role = "chef".into()), "role_unknown"),
    ] {
        peer.ms += limits::RENEWAL_EVERY_MS;
        peer.frame(&auth);
        let said = peer.input(Input::Verified(answer));
        let frame = &said.frames[0];
        assert_eq!(
            (&frame["type"], &frame["renewal"], &frame["code"]),
            (&json!("auth:failed"), &json!(true), &json!(code))
        );
        assert_eq!(said.close(), None);
    }
}

#[test]
fn the_token_s_end_closes_after_the_leeway_and_a_renewal_moves_it() {
    let mut peer = Peer::live(true);
    // Alive all the while.
    let alive = |peer: &mut Peer, until: u64| {
        while peer.ms < until {
            peer.input(Input::Pong);
            let said = peer.after(5_000.min(until - peer.ms));
            if said.close().is_some() {
                return said.close();
            }
        }
        None
    };
    let end = 1_000 + 3_600_000 + limits::TOKEN_LEEWAY_MS;
    assert_eq!(alive(&mut peer, 3_000_000), None);
    peer.frame(&json!({"type":"auth","token":"u"}));
    peer.input(Input::Verified(Ok(claims())));
    assert_eq!(alive(&mut peer, end), None);
    assert_eq!(
        alive(&mut peer, end + 3_000_000),
        Some(CloseCode::TOKEN_EXPIRED)
    );
}

#[test]
fn two_unanswered_pings_cut_the_peer_and_any_sign_of_life_counts() {
    let mut peer = Peer::live(true);
    for _ in 0..5 {
        assert_eq!(peer.after(15_000).others, [Output::Ping, Output::Account]);
        peer.input(Input::Pong);
    }
    assert_eq!(peer.after(15_000).others, [Output::Ping, Output::Account]);
    peer.frame(&json!({"type":"ping"}));
    assert_eq!(peer.after(15_000).others, [Output::Ping, Output::Account]);
    assert_eq!(peer.after(15_000).others, [Output::Ping, Output::Account]);
    let said = peer.after(15_000);
    assert_eq!((said.others, said.wait), (vec![Output::Drop], None));
}

#[test]
fn a_socket_without_write_progress_is_closed_then_cut() {
    let mut peer = Peer::live(true);
    peer.input(Input::Blocked);
    peer.ms += 15_000;
    peer.input(Input::Pong);
    peer.input(Input::Wrote { empty: false });
    peer.ms += limits::WRITE_STALL_MS - 1;
    peer.input(Input::Pong);
    assert_eq!(peer.after(1).close(), Some(CloseCode::SLOW_CONSUMER));
    assert_eq!(peer.after(5_000).others, [Output::Drop]);
    let mut peer = Peer::live(true);
    peer.input(Input::Blocked);
    peer.input(Input::Wrote { empty: true });
    assert!(!matches!(peer.after(1).wait, Some((_, Timer::Stall))));
}

#[test]
fn answers_that_nobody_reads_are_bounded() {
    let mut peer = Peer::live(true);
    peer.input(Input::Blocked);
    let mut sent = 0;
    for n in 0..2_000 {
        peer.ms += 60;
        let said = peer.frame(&json!({"type":"dance","id":format!("d{n}")}));
        peer.input(Input::Wrote { empty: false });
        if said.close().is_some() {
            assert_eq!(said.close(), Some(CloseCode::SLOW_CONSUMER));
            break;
        }
        sent += said.frames.len();
    }
    assert_eq!(sent, limits::CONTROL_QUEUE);
}

#[test]
fn a_draining_relay_says_when_to_come_back() {
    let mut peer = Peer::live(true);
    let said = peer.input(Input::Drain {
        reconnect_after_ms: 1_234,
    });
    let [Output::Close(CloseCode::RESTART, reason)] = &said.others[..] else {
        panic!("{said:?}")
    };
    assert_eq!(CloseCode::reconnect_after_ms(reason), Some(1_234));
    assert!(
        peer.frame(&cancel("late")).others.is_empty(),
        "nothing is taken any more"
    );
    assert_eq!(peer.input(Input::Closed).wait, None);
}

#[test]
fn binary_and_oversized_messages_close() {
    assert_eq!(
        Peer::live(true).input(Input::Binary).close(),
        Some(CloseCode::UNSUPPORTED)
    );
    assert_eq!(
        Peer::live(true).input(Input::TooBig).close(),
        Some(CloseCode::TOO_BIG)
    );
    assert_eq!(
        Peer::live(true)
            .input(Input::End(CloseCode::TOKEN_EXPIRED, "expired"))
            .close(),
        Some(CloseCode::TOKEN_EXPIRED)
    );
}

#[test]
fn a_service_is_not_bound_by_the_command_rate() {
    let mut peer = Peer::new();
    peer.input(Input::Opened { v1: false });
    peer.frame(&json!({"type":"auth","token":"t","protocol":"tautline.v1"}));
    peer.input(Input::Verified(Ok(Claims {
        role: "service".into(),
        ..claims()
    })));
    peer.input(Input::Attached {
        epoch: Epoch::new("e1"),
        seq: 41,
        resumed: false,
    });
    for n in 0..300u64 {
        assert_eq!(peer.frame(&cancel(&format!("a{n}"))).submitted(), [n]);
        peer.ack(n);
    }
}

/// Any input, in any order.
fn inputs() -> impl Strategy<Value = Vec<(u8, u64, String)>> {
    let frame = prop_oneof![
        Just(json!({"type":"auth","token":"t","protocol":"tautline.v1","sync":true}).to_string()),
        Just(json!({"type":"ping"}).to_string()),
        Just(json!({"type":"orders:sync","id":"s"}).to_string()),
        Just(cancel("c").to_string()),
        Just(json!({"type":"subscribe","id":"f"}).to_string()),
        any::<String>(),
    ];
    proptest::collection::vec((0u8..16, 0u64..20_000, frame), 0..60)
}

proptest! {
    #[test]
    fn any_inputs_in_any_order_end_in_wait_and_after_the_end_there_is_nothing(inputs in inputs()) {
        let mut peer = Peer::new();
        let mut closes = 0;
        for (kind, ms, frame) in &inputs {
            peer.ms += ms;
            let said = match kind {
                0 => peer.input(Input::Opened { v1: ms % 2 == 0 }),
                1..=5 => peer.input(Input::Frame(frame)),
                6 => peer.input(Input::Verified(Ok(claims()))),
                7 => peer.input(Input::Verified(Err(AuthCode::TokenInvalid))),
                8 => peer.input(Input::Attached { epoch: Epoch::new("e"), seq: 1, resumed: ms % 2 == 0 }),
                9 => peer.ack(ms % 5),
                10 => peer.input(Input::Synced),
                11 => peer.input(Input::Blocked),
                12 => peer.input(Input::Wrote { empty: ms % 2 == 0 }),
                13 => peer.input(Input::Pong),
                14 if ms % 4 == 0 => peer.input(Input::Drain { reconnect_after_ms: *ms }),
                _ => peer.input(Input::Tick),
            };
            closes += said.others.iter().filter(|output| matches!(output, Output::Close(..))).count();
            if let Some((due, _)) = said.wait {
                prop_assert!(due > Time::from_ms(peer.ms), "a deadline in the past would spin");
            }
        }
        prop_assert!(closes <= 1);
        prop_assert_eq!(peer.input(Input::Closed).wait, None);
        let after = peer.frame(&cancel("x"));
        prop_assert!(after.frames.is_empty() && after.others.is_empty() && after.wait.is_none());
    }
}
