//! The client's pace against the relay's own judgement, whatever limits are announced.
#![cfg(feature = "relay")]

use crate::support::{Driver, Success, command, with_token};
use proptest::prelude::*;
use std::sync::Arc;
use tautline_machine::Time;
use tautline_machine::client::Command;
use tautline_machine::relay::session::{Claims, Config, Input, Output};
use tautline_machine::relay::{Ack, Answer, Moment, Session};
use tautline_protocol::Epoch;
use tautline_protocol::limits::Limits;

/// A relay's session that answers every command at once; refusals are kept.
struct Relay {
    session: Session,
    refused: Vec<String>,
    submitted: usize,
}

impl Relay {
    fn live(limits: Limits) -> Self {
        let config = Config {
            limits,
            ..Config::default()
        };
        let mut relay = Self {
            session: Session::new(Arc::new(config)),
            refused: Vec::new(),
            submitted: 0,
        };
        relay.input(Input::Opened { v1: true }, 0);
        relay.input(Input::Frame(r#"{"type":"auth","token":"t"}"#), 0);
        let claims = Claims {
            sub: "ann".into(),
            restaurants: Some(vec!["grow".into()]),
            role: "kitchen".into(),
            order_ids: Vec::new(),
            issued_at_ms: None,
            expires_at: "2026-11-23T18:00:00Z".into(),
            expires_in_ms: 86_400_000,
        };
        relay.input(Input::Verified(Ok(claims)), 0);
        let attached = Input::Attached {
            epoch: Epoch::new("e1"),
            seq: 0,
            resumed: false,
        };
        relay.input(attached, 0);
        relay
    }

    fn input(&mut self, input: Input<'_>, ms: u64) {
        let at = Moment {
            now: Time::from_ms(ms),
            wall_ms: 1_790_000_000_000 + ms,
        };
        self.session.handle(input, at, 0, 500);
        let mut numbers = Vec::new();
        loop {
            match self.session.poll_output() {
                Output::Submit { number, .. } => numbers.push(number),
                Output::Send(frame) if frame.contains("nack") || frame.contains("error") => {
                    self.refused.push(frame);
                }
                Output::Close(code, reason) => self.refused.push(format!("{code:?} {reason}")),
                Output::Wait(_) => break,
                _ => {}
            }
        }
        self.submitted += numbers.len();
        for number in numbers {
            let ack = Ack {
                at: None,
                result: None,
            };
            let answer = Answer::Ack(Arc::new(ack));
            self.session
                .handle(Input::Answered { number, answer }, at, 0, 500);
        }
    }
}

/// How much later than sent something arrives may differ by so much: what the client keeps below the relay's burst.
fn slack_ms(limits: Limits) -> u64 {
    let burst_milli = u64::from(limits.burst) * 1_000;
    let own = (u64::from(limits.burst) * 900).max(1_000);
    (burst_milli - own) / u64::from(limits.rate_per_s)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_client_below_the_limits_it_was_told_is_never_refused(
        rate_per_s in 1u32..=400,
        burst in 1u32..=400,
        count in 1usize..600,
        delays in prop::collection::vec(any::<u16>(), 1..50),
    ) {
        let limits = Limits { rate_per_s, burst, max_message: 65_536 };
        let count = count.min((burst + rate_per_s * 20) as usize);
        let mut d = Driver::new(with_token());
        d.connect();
        d.come_up(&Success { limits: Some(limits), ..Success::default() });
        let cancel = || Command {
            payload: r#"{"order_id":"o"}"#.to_owned(),
            ..command("order:cancel")
        };
        for _ in 0..count {
            prop_assert!(d.send(cancel()).is_ok());
        }
        let mut relay = Relay::live(limits);
        let (start, slack) = (d.now, slack_ms(limits));
        let (mut arrived, mut sent) = (0, 0);
        while sent < count {
            for frame in d.sent_of("order:cancel") {
                let delay = u64::from(delays[sent % delays.len()]) % (slack + 1);
                // On one connection nothing overtakes.
                arrived = arrived.max(d.now - start + delay);
                relay.input(Input::Frame(&frame.to_string()), arrived);
                prop_assert!(relay.refused.is_empty(), "{limits:?} after {sent}: {:?}", relay.refused);
                d.ack(frame["id"].as_str().expect("an id"), None);
                sent += 1;
            }
            let (at, _) = d.wait.expect("a timer");
            d.pass((at - d.now).max(1));
            d.pong(Some(0));
        }
        prop_assert_eq!(relay.submitted, count);
    }
}
