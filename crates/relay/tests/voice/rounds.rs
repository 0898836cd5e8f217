//! Sessions that die in every way there is, many at once, round after round: nothing is left of any, and memory is flat.
//!
//! A few rounds here; `cargo xtask rounds --write` plays 150 sessions for 20 rounds.

use crate::sockets::Session;
use crate::stream::Post;
use crate::support::*;
use crate::{none_left, pcm_tone, relay};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Instant;
use tautline_machine::trend::{Direction, Floor, Trend};
use tautline_machine::{Rng, Time};

/// Rounds until the allocator has what it needs; the test is of those that follow.
const WARM: usize = 10;

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Death {
    /// It says so.
    Stop,
    /// A close frame.
    Close,
    /// The socket breaks.
    Cut,
    /// A message that is none, then the socket breaks.
    Malformed,
    /// Sound that is none, then a close.
    BadSound,
    /// The upstream says that it is over.
    Upstream,
    /// The upstream breaks off, again and again.
    UpstreamLost,
    /// Silence.
    Timeout,
    /// The session's handler panics.
    Panic,
    /// An operator.
    Operator,
    /// Another session on the same connection.
    Replaced,
}

const DEATHS: [Death; 11] = [
    Death::Stop,
    Death::Close,
    Death::Cut,
    Death::Malformed,
    Death::BadSound,
    Death::Upstream,
    Death::UpstreamLost,
    Death::Timeout,
    Death::Panic,
    Death::Operator,
    Death::Replaced,
];

/// What the upstream does wrong; the client's event says which.
const SCRIPT: &str = r#"
[[step]]
on = "input_audio_buffer.clear"
then = [{ fault = { panic = {} } }]

[[step]]
on = "response.cancel"
then = [{ fault = { close = { code = 1000, reason = "over" } } }]

[[step]]
on = "output_audio_buffer.clear"
then = [{ fault = { close = { code = 1006 } } }]
"#;

struct Tokens {
    server: String,
    manager: String,
}

/// One session, from its start to its end.
async fn live(relay: &Relay, tokens: &Tokens, death: Death, sound: u32) {
    match death {
        Death::Upstream | Death::UpstreamLost | Death::Panic => {
            let token = Some(tokens.server.as_str());
            let mut session = Session::open(relay, "?model=gpt-realtime", token, None)
                .await
                .unwrap();
            session.until("session.created").await;
            let kind = match death {
                Death::Panic => "input_audio_buffer.clear",
                Death::Upstream => "response.cancel",
                _ => "output_audio_buffer.clear",
            };
            session.send(json!({"type": kind})).await;
            if death == Death::UpstreamLost {
                // It is dialled again, and this client does not wait for it.
                return drop(session);
            }
            session.is_over().await;
        }
        Death::Stop
        | Death::Close
        | Death::Cut
        | Death::Malformed
        | Death::BadSound
        | Death::Timeout
        | Death::Operator
        | Death::Replaced => {
            let config = json!({"loopback": sound.is_multiple_of(2)});
            let (mut post, id) = Post::start(relay, &tokens.server, config.clone()).await;
            for _ in 0..sound {
                post.audio(&pcm_tone(25)).await;
            }
            match death {
                Death::Stop => post.send(json!({"type": "session.stop"})).await,
                Death::Close => post.close().await,
                Death::Malformed => post.send_text("{\"type\": 7".into()).await,
                Death::BadSound => {
                    post.send(json!({"type": "audio", "audio": "?"})).await;
                    post.close().await;
                }
                Death::Timeout => {
                    let error = post.error().await;
                    assert_eq!(error["details"]["reason"], "idle", "{error}");
                }
                Death::Operator => {
                    let path = format!("/api/v1/sessions/{id}");
                    let mut http = relay.http().await;
                    let answer = http
                        .send("DELETE", &path, &tokens.manager, &[], "")
                        .await
                        .unwrap();
                    assert_eq!(answer.status, 204, "{answer:?}");
                    post.closed().await;
                }
                Death::Replaced => {
                    post.send(json!({"type": "session.start", "session_config": config}))
                        .await;
                    let error = post.error().await;
                    assert_eq!(error["details"]["reason"], "replaced", "{error}");
                    post.until("session.started").await;
                }
                _ => {}
            }
        }
    }
}

/// What must be back where it was.
async fn held(relay: &Relay, token: &str) -> BTreeMap<String, u64> {
    let counts = crate::counts(relay, token).await;
    let counts = counts.as_object().unwrap().iter();
    let mut held: BTreeMap<_, _> = counts
        .filter(|(kind, _)| kind.as_str() != "log_bytes")
        .map(|(kind, count)| (kind.clone(), count.as_u64().unwrap()))
        .collect();
    for metric in [
        "tautline_voice_sessions",
        "tautline_voice_index",
        "tautline_tasks",
    ] {
        held.insert(metric.into(), relay.metric(metric).await as u64);
    }
    held
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

/// The floor's trend over rounds, one round a minute so that it has a unit.
fn trend(rounds: &[f64]) -> Trend {
    let mut floor = Floor::new(60_000);
    for (round, bytes) in rounds.iter().chain(rounds.last()).enumerate() {
        floor.sample(*bytes, Time::from_ms(round as u64 * 60_000));
    }
    floor.trend()
}

#[tokio::test(flavor = "current_thread")]
async fn whatever_sessions_die_of_nothing_is_left() {
    let sessions = number("TAUTLINE_SESSIONS", 33) as usize;
    let rounds = number("TAUTLINE_ROUNDS", 3) as usize;
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("faults.toml");
    std::fs::write(&script, SCRIPT).unwrap();
    let upstream = format!("script:{}", script.display());
    let relay = relay(&["--upstream", &upstream, "--session-idle", "2s"]);
    let tokens = Tokens {
        server: relay.token("server").await,
        manager: relay.token("manager").await,
    };
    let mut rng = Rng::new(number("TAUTLINE_SEED", 1));
    let mut deaths = BTreeMap::<Death, usize>::new();
    let mut memory = Vec::new();
    let mut start = None;
    let began = Instant::now();
    for _ in 0..rounds {
        let dying = (0..sessions).map(|n| {
            // Each way in each round, the rest by chance.
            let by_chance = DEATHS[rng.between(0, DEATHS.len() as u64 - 1) as usize];
            let death = DEATHS.get(n).copied().unwrap_or(by_chance);
            *deaths.entry(death).or_default() += 1;
            (death, rng.between(0, 40) as u32)
        });
        let dying: Vec<_> = dying.collect();
        futures_util::future::join_all(
            dying
                .into_iter()
                .map(|(death, sound)| live(&relay, &tokens, death, sound)),
        )
        .await;
        none_left(&relay).await;
        // The first round has opened what is opened once; from then on nothing is added.
        let start = match &start {
            Some(start) => start,
            None => start.insert(held(&relay, &tokens.manager).await),
        };
        relay
            .until("everything is back where it was", || async {
                held(&relay, &tokens.manager).await == *start
            })
            .await;
        memory.push(relay.metric("process_resident_memory_bytes").await);
    }
    let panics = relay.metric("tautline_session_panics_total").await;
    assert_eq!(panics as usize, deaths[&Death::Panic], "each was seen");

    let judged = &memory[WARM.min(memory.len())..];
    let flat = trend(judged);
    println!(
        "rounds: {rounds} of {sessions} sessions in {:.0} s",
        began.elapsed().as_secs_f64()
    );
    for (death, count) in &deaths {
        println!("rounds: death {death:?} {count}");
    }
    for bytes in &memory {
        println!("rounds: memory {bytes:.0}");
    }
    if judged.len() >= 10 {
        println!(
            "rounds: trend {} z {:.2} bytes a round {:.0}",
            flat.direction.as_str(),
            flat.z,
            flat.per_hour / 60.0
        );
        assert_eq!(flat.direction, Direction::Stable, "{flat:?} of {memory:?}");
    }
}
