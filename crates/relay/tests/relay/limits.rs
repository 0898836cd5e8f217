//! Every row of the table of limits (`docs/protocol.md`, Limits) met in a real relay, and found in its metrics.

use crate::support::*;
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tautline_protocol::limits::{self, hit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Which test here meets which rows.
const SCENES: &[(&str, &[&str])] = &[
    ("sockets_in_all", &[hit::CONNECTIONS]),
    (
        "connections_of_a_restaurant",
        &[hit::RESTAURANT_CONNECTIONS],
    ),
    (
        "connections_of_an_address",
        &[
            hit::ADDRESS_CONNECTIONS,
            hit::ADDRESS_RATE,
            hit::AUTH_FAILURES,
        ],
    ),
    (
        "those_that_do_not_say_who_they_are",
        &[hit::UNAUTHENTICATED, hit::AUTH_TIME],
    ),
    (
        "requests",
        &[
            hit::REQUEST_HEAD,
            hit::REQUEST_HEAD_TIME,
            hit::REQUEST_BODY,
            hit::REQUEST_BODY_TIME,
            hit::MESSAGE_SHAPE,
        ],
    ),
    (
        "messages",
        &[
            hit::MESSAGE_BEFORE_AUTH,
            hit::MESSAGE,
            hit::MESSAGE_SHAPE,
            hit::MESSAGE_ARRAY,
        ],
    ),
    (
        "rates",
        &[
            hit::COMMAND_RATE,
            hit::COMMAND_REFUSALS,
            hit::HTTP_WRITES,
            hit::PING_RATE,
            hit::RENEWAL_RATE,
            hit::SYNC_RATE,
        ],
    ),
    ("answers_not_read", &[hit::CONTROL_QUEUE]),
    (
        "events_kept",
        &[hit::TAIL_EVENTS, hit::TAIL_MEMORY, hit::WRITE_STALL],
    ),
    ("bytes_kept", &[hit::TAIL_BYTES]),
    (
        "live_sets",
        &[hit::LIVE_ORDERS, hit::LIVE_BYTES, hit::ORDER],
    ),
    ("commands_remembered", &[hit::DUPLICATE_MEMORY]),
    ("restaurants_in_memory", &[hit::RESTAURANTS]),
    ("revoked_subs", &[hit::REVOCATIONS]),
    ("a_relay_that_does_not_keep_up", &[hit::OVERLOAD]),
];

/// What only minutes, gigabytes or a disk that waits could meet: on the shard itself, with its own bounds
/// (`src/shard/bounds_tests.rs`).
const IN_THE_SHARD: &[(&str, &str)] = &[
    (hit::APPEND_QUEUE, "records_that_wait_for_the_store"),
    (hit::TAIL_MEMORY_ALL, "tails_of_all_restaurants"),
    (hit::RESTAURANT_IDLE, "a_restaurant_that_nobody_asks_for"),
    (hit::SNAPSHOTS, "snapshots_being_sent"),
];

/// Of calls and voice sessions: which test of `tests/voice` meets the row in a real relay.
const IN_CALLS: &[(&str, &str)] = &[
    (hit::REALTIME_FORM, "offers_and_bodies"),
    (hit::REALTIME_MESSAGE, "messages_of_a_socket"),
    (hit::REALTIME_SECRETS, "secrets_in_all"),
    (
        hit::UDP_AMPLIFICATION,
        "an_address_that_does_not_answer_gets_three_times_what_came_from_it",
    ),
    (
        hit::UDP_STRANGERS,
        "strangers_are_not_answered_and_after_fifty_not_heard",
    ),
    (hit::VOICE_AUDIO, "sound_in_messages"),
    (hit::VOICE_CHANNEL_MESSAGE, "messages_of_a_channel"),
    (
        hit::VOICE_HALF_OPEN,
        "calls_that_are_being_set_up_are_bounded",
    ),
    (hit::VOICE_IDLE, "a_call_in_which_nobody_does_anything_ends"),
    (
        hit::VOICE_LENGTH,
        "a_call_has_a_longest_duration_and_is_told_before",
    ),
    (hit::VOICE_MESSAGES, "a_flood_is_told_so_and_closed_4029"),
    (
        hit::VOICE_PERSON,
        "a_customer_has_two_and_a_restaurant_s_server_more",
    ),
    (hit::VOICE_QUEUE, "a_client_that_does_not_read"),
    (hit::VOICE_RESTAURANT, "sessions_in_all"),
    (hit::VOICE_SESSIONS, "sessions_in_all"),
    (hit::VOICE_SETUP, "a_call_that_is_never_set_up_is_gone"),
    (hit::VOICE_SIDEBANDS, "sidebands_of_a_session"),
    (hit::VOICE_SILENCE, "a_peer_that_falls_silent_is_gone"),
    (hit::VOICE_TCP, "connections_of_ice"),
];

/// What would take a peer that answers from nine addresses: on what holds them (`src/voice/paths.rs`).
const IN_PATHS: &[(&str, &str)] = &[(
    hit::VOICE_PATHS,
    "there_are_so_many_and_who_has_not_answered_makes_room",
)];

/// The text of a test; `None` where there is no such test.
fn body<'a>(files: &[&'a str], test: &str) -> Option<&'a str> {
    let head = format!("fn {test}()");
    let after = files
        .iter()
        .find_map(|file| Some(file.split_once(&head)?.1))?;
    after.split("\n}\n").next()
}

#[test]
fn no_row_is_forgotten() {
    let here = SCENES.iter().flat_map(|(_, rows)| rows.iter().copied());
    let mut met: Vec<_> = here
        .chain(IN_THE_SHARD.iter().map(|(row, _)| *row))
        .chain(IN_CALLS.iter().map(|(row, _)| *row))
        .chain(IN_PATHS.iter().map(|(row, _)| *row))
        .collect();
    met.sort_unstable();
    met.dedup();
    let mut rows = hit::ROWS.to_vec();
    rows.sort_unstable();
    assert_eq!(met, rows);
    for (scene, _) in SCENES {
        let asks = format!("all_met(&relay, \"{scene}\")");
        assert!(include_str!("limits.rs").contains(&asks), "{asks}");
    }
    for (row, test) in IN_THE_SHARD {
        let text = include_str!("../../src/shard/bounds_tests.rs");
        assert!(text.contains(&format!("fn {test}()")), "{row}: {test}");
    }
    let calls = [
        include_str!("../voice/deadlines.rs"),
        include_str!("../voice/limits.rs"),
        include_str!("../voice/sockets.rs"),
        include_str!("../voice/strangers.rs"),
    ];
    for (row, test) in IN_CALLS {
        let asks = format!("met(&relay, hit::{})", row.to_uppercase());
        let body = body(&calls, test).unwrap_or_else(|| panic!("{row}: {test}"));
        assert!(body.contains(&asks), "{test}: {asks}");
    }
    for (row, test) in IN_PATHS {
        let asks = format!("met(hit::{})", row.to_uppercase());
        let body = body(&[include_str!("../../src/voice/paths.rs")], test);
        let body = body.unwrap_or_else(|| panic!("{row}: {test}"));
        assert!(body.contains(&asks), "{test}: {asks}");
    }
}

fn start(args: &[&str]) -> Relay {
    Relay::start(Path::new(":memory:"), args)
}

/// Every row of the scene is in the metrics by now.
async fn all_met(relay: &Relay, scene: &str) {
    let rows = SCENES.iter().find(|(name, _)| *name == scene).unwrap().1;
    for row in rows {
        assert!(met(relay, row).await > 0.0, "{row}");
    }
}

const PROXY: &[&str] = &["--trusted-proxy", "127.0.0.1"];

async fn from(relay: &Relay, address: &str) -> Result<Client, (u16, Option<String>)> {
    Client::try_open(relay.address, &[("x-forwarded-for", address)]).await
}

#[tokio::test]
async fn sockets_in_all() {
    let relay = start(&["--max-connections", "3"]);
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(Client::open(&relay).await);
    }
    let refused = Client::try_open(relay.address, &[]).await.err().unwrap();
    assert_eq!(refused, (503, Some("5".to_owned())));
    let mut http = relay.http().await;
    let answer = http.get(ORDERS, "").await;
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (503, Some("overloaded"))
    );
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(
        relay.http().await.get("/healthz", "").await.status,
        200,
        "operators see it"
    );
    all_met(&relay, "sockets_in_all").await;
    open.pop();
    relay
        .until("there is room again", || async {
            relay.http().await.get(ORDERS, "").await.status == 401
        })
        .await;
    // Those that are told so are bounded, too, and take no room from the others.
    let idle: Vec<_> =
        join_all((0..2 * limits::REFUSALS_AT_ONCE).map(|_| TcpStream::connect(relay.address)))
            .await;
    relay
        .until("most are cut", || async {
            relay.descriptors() < limits::REFUSALS_AT_ONCE + 40
        })
        .await;
    drop(idle);
    let mut first = open.swap_remove(0);
    first.expect("connected").await;
}

#[tokio::test]
async fn files_may_leave_room_for_fewer() {
    let relay = Relay::start_with_files(limits::FILES_RESERVED + 200);
    let mut open = Vec::new();
    for _ in 0..200 {
        open.push(Client::open(&relay).await);
    }
    let refused = Client::try_open(relay.address, &[]).await.err();
    assert_eq!(refused.map(|(status, _)| status), Some(503));
    // Asking for it is one more.
    assert_eq!(met(&relay, hit::CONNECTIONS).await, 2.0);
}

#[tokio::test]
async fn connections_of_a_restaurant() {
    let relay = start(&["--max-per-restaurant", "2"]);
    let token = relay.token("kitchen").await;
    let one = Client::v1(&relay, &token, json!({})).await;
    let _other = Client::v1(&relay, &token, json!({})).await;
    let third = || async {
        let mut client = Client::open(&relay).await;
        client
            .send(json!({"type":"auth","token":token,"protocol":"tautline.v1"}))
            .await;
        client
    };
    let (code, reason) = third().await.closed().await;
    assert_eq!(code, 1013);
    assert!(reason.contains("overloaded"), "{reason}");
    let elsewhere = relay.token_for("restaurant_id=other&role=kitchen").await;
    Client::v1(&relay, &elsewhere, json!({})).await;
    all_met(&relay, "connections_of_a_restaurant").await;
    drop(one);
    relay
        .until("there is room again", || async {
            let mut client = third().await;
            client.expect("connected").await;
            client
                .reply()
                .await
                .is_some_and(|frame| frame["type"] == "auth:success")
        })
        .await;
}

#[tokio::test]
async fn connections_of_an_address() {
    let relay = start(PROXY);
    let mut open = Vec::new();
    for _ in 0..limits::ADDRESS_CONNECTIONS {
        open.push(from(&relay, "10.1.1.1").await.unwrap());
    }
    let refused = from(&relay, "6.6.6.6, 10.1.1.1").await.err().unwrap();
    assert_eq!(
        refused,
        (429, Some("5".to_owned())),
        "what others wrote before it changes nothing"
    );
    open.push(from(&relay, "10.1.1.2").await.unwrap());
    open.push(Client::open(&relay).await);
    assert_eq!(met(&relay, hit::ADDRESS_RATE).await, 0.0);
    drop(open);
    // Those that leave at once still come too often.
    relay
        .until("too often", || async {
            let came = join_all((0..50).map(|_| from(&relay, "10.2.2.2"))).await;
            drop(came);
            met(&relay, hit::ADDRESS_RATE).await > 0.0
        })
        .await;
    // Refused tokens, by whatever way.
    let bad = async |address: &'static str| {
        let headers = [("x-forwarded-for", address)];
        relay
            .http()
            .await
            .send("GET", ORDERS, "a.b.c", &headers, "")
            .await
            .unwrap()
    };
    for n in 0..limits::AUTH_FAILURES_PER_MIN / 2 {
        assert_eq!(bad("10.3.3.3").await.status, 401, "{n}");
        let mut client = from(&relay, "10.3.3.3").await.unwrap();
        client.send(json!({"type":"auth","token":"a.b.c"})).await;
        assert_eq!(client.closed().await.0, 1008);
    }
    let mut answer = bad("10.3.3.3").await;
    // A slow machine may have earned a try or two meanwhile.
    for _ in 0..limits::AUTH_FAILURES_PER_MIN {
        if answer.status == 429 {
            break;
        }
        answer = bad("10.3.3.3").await;
    }
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (429, Some("rate_limited"))
    );
    assert!(answer.header("retry-after").is_some());
    assert_eq!(
        from(&relay, "10.3.3.3")
            .await
            .err()
            .map(|(status, _)| status),
        Some(429)
    );
    assert_eq!(bad("10.3.3.4").await.status, 401);
    all_met(&relay, "connections_of_an_address").await;
}

/// A socket after its handshake, without a client around it.
async fn upgraded(relay: &Relay) -> TcpStream {
    let mut socket = TcpStream::connect(relay.address).await.unwrap();
    let request = format!(
        "GET /ws HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        relay.address
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

/// The close code at the end of what a raw socket gets.
async fn raw_close(socket: &mut TcpStream) -> u16 {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(DEADLINE, socket.read_to_end(&mut bytes)).await;
    assert!(matches!(read, Ok(Ok(_))), "{read:?}");
    let frame = bytes.windows(2).rposition(|two| two[0] == 0x88).unwrap();
    u16::from_be_bytes([bytes[frame + 2], bytes[frame + 3]])
}

#[tokio::test]
async fn those_that_do_not_say_who_they_are() {
    let relay = start(&[]);
    let token = relay.token("kitchen").await;
    let (mut known, _) = Client::v1(&relay, &token, json!({})).await;
    let mut first = upgraded(&relay).await;
    relay
        .until("it is there", || async {
            relay.metric("tautline_connections").await == 2.0
        })
        .await;
    let others = join_all((0..limits::UNAUTHENTICATED).map(|_| upgraded(&relay))).await;
    assert_eq!(raw_close(&mut first).await, 1013, "the oldest");
    known
        .send(json!({"type":"ping","payload":{"timestamp":1}}))
        .await;
    known.until("pong").await;
    let mut last = others.into_iter().next_back().unwrap();
    assert_eq!(raw_close(&mut last).await, 4009, "after 10 s");
    assert_eq!(
        met(&relay, hit::UNAUTHENTICATED).await,
        1.0,
        "at the bound nobody goes"
    );
    all_met(&relay, "those_that_do_not_say_who_they_are").await;
}

/// Resident memory, bytes.
fn resident(relay: &Relay) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim()
        .trim_end_matches(" kB")
        .parse::<usize>()
        .unwrap()
        * 1024
}

/// Resident memory once it has stopped changing.
async fn settled(relay: &Relay) -> usize {
    let started = Instant::now();
    let mut last = 0;
    loop {
        let now = resident(relay);
        if now.abs_diff(last) <= 16 * 1024 {
            return now;
        }
        assert!(started.elapsed() < DEADLINE, "memory never settles");
        last = now;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Bytes of a connection before auth with a message of 16 KiB half-sent; `None` on a machine so slow that the first are
/// closed for their time before the last are there.
async fn cost_before_auth(relay: &Relay, many: usize) -> Option<usize> {
    let whole = limits::MAX_MESSAGE_BEFORE_AUTH;
    let mut half = vec![0x81, 0xfe];
    half.extend(u16::try_from(whole).unwrap().to_be_bytes());
    half.extend([0; 4]);
    half.resize(half.len() + whole / 2, b'x');
    // What any first connections cost is not theirs; nor is what a hundred handshakes at once cost.
    let mut sockets = Vec::new();
    let mut before = 0;
    for n in 0..many + 40 {
        if n == 40 {
            before = settled(relay).await;
        }
        let mut socket = upgraded(relay).await;
        let mut greeting = [0; 512];
        while !greeting.windows(9).any(|text| text == b"connected") {
            assert!(socket.read(&mut greeting).await.unwrap() > 0);
        }
        socket.write_all(&half).await.unwrap();
        sockets.push(socket);
    }
    let started = Instant::now();
    while resident(relay).saturating_sub(before) < many * whole / 2 * 3 / 4 {
        assert!(started.elapsed() < DEADLINE, "their halves are not read");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let after = settled(relay).await;
    let there = relay.metric("tautline_connections").await as usize;
    (there == sockets.len()).then_some((after - before) / many)
}

#[tokio::test]
async fn a_connection_before_auth_costs_at_most_16_kib() {
    for _ in 0..5 {
        let relay = start(&[]);
        let Some(each) = cost_before_auth(&relay, limits::UNAUTHENTICATED * 2 / 3).await else {
            continue;
        };
        println!("{each} bytes for a connection before auth with a message of 16 KiB half-sent");
        assert!(each <= 16 * 1024, "{each} bytes each");
        let loaded = relay.metric("tautline_restaurants").await;
        assert_eq!(loaded, 0.0, "nothing of any restaurant");
        return;
    }
    panic!("never all at once");
}

#[tokio::test]
async fn requests() {
    let relay = start(&[]);
    let token = relay.token("service").await;
    let head = |fields: usize, bytes: usize| {
        let mut head = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n", relay.address);
        (1..fields).for_each(|n| head += &format!("x-{n}: 1\r\n"));
        // Room is made by lengthening the path.
        let pad = bytes.saturating_sub(head.len() + 2);
        head.replacen(
            "/healthz",
            &format!("/healthz?{}", "x".repeat(pad.max(1) - 1)),
            1,
        ) + "\r\n"
    };
    let status = async |head: String| {
        let mut http = relay.http().await;
        http.raw(&head).await;
        let answer = http.read_until("\r\n\r\n").await;
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    assert_eq!(status(head(limits::REQUEST_FIELDS, 0)).await, 200);
    assert_eq!(status(head(limits::REQUEST_FIELDS + 1, 0)).await, 431);
    assert_eq!(status(head(1, limits::REQUEST_HEAD - 1)).await, 200);
    assert_eq!(status(head(1, limits::REQUEST_HEAD + 1)).await, 431);
    let fact = |bytes: usize| {
        let empty = json!({"type":"menu:updated","payload":{"t":""}}).to_string();
        let text = "x".repeat(bytes - empty.len());
        json!({"type":"menu:updated","payload":{"t":text}}).to_string()
    };
    let mut http = relay.http().await;
    assert_eq!(
        http.post(EVENTS, &token, &fact(limits::REQUEST_BODY))
            .await
            .status,
        202
    );
    assert_eq!(
        http.post(EVENTS, &token, &fact(limits::REQUEST_BODY + 1))
            .await
            .status,
        413
    );
    let twice = r#"{"type":"menu:updated","payload":{"a":1,"a":2}}"#;
    let answer = relay.http().await.post(EVENTS, &token, twice).await;
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (422, Some("invalid"))
    );
    // Both wait at once: 5 s for a head that does not end, 30 s for a body.
    let mut slow = relay.http().await;
    slow.raw("GET /healthz HTTP/1.1\r\nhost: ").await;
    let mut body = relay.http().await;
    body.raw(&format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\ncontent-length: 100\r\n\r\n{{",
        relay.address
    ))
    .await;
    let started = Instant::now();
    assert!(slow.is_closed(Duration::from_secs(60)).await);
    assert!(started.elapsed() >= Duration::from_millis(limits::REQUEST_HEAD_MS - 100));
    relay
        .until("it is counted", || async {
            met(&relay, hit::REQUEST_HEAD_TIME).await == 1.0
        })
        .await;
    // One that is kept and not used is closed as well, and no limit met.
    let mut kept = relay.http().await;
    assert_eq!(kept.get("/healthz", "").await.status, 200);
    assert!(kept.is_closed(Duration::from_secs(60)).await);
    let answer = body.read_within("\r\n\r\n", Duration::from_secs(90)).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(started.elapsed() >= Duration::from_millis(limits::REQUEST_BODY_MS - 100));
    assert_eq!(met(&relay, hit::REQUEST_HEAD_TIME).await, 1.0);
    all_met(&relay, "requests").await;
}

fn ping(bytes: usize) -> String {
    let empty = json!({"type":"ping","payload":{"timestamp":1},"pad":""}).to_string();
    let pad = "x".repeat(bytes - empty.len());
    json!({"type":"ping","payload":{"timestamp":1},"pad":pad}).to_string()
}

#[tokio::test]
async fn messages() {
    let relay = start(&[]);
    let token = relay.token("kitchen").await;
    let auth = |bytes: usize| {
        let empty = json!({"type":"auth","token":token,"pad":""}).to_string();
        let pad = "x".repeat(bytes - empty.len());
        json!({"type":"auth","token":token,"pad":pad}).to_string()
    };
    let mut client = Client::open(&relay).await;
    client.text(auth(limits::MAX_MESSAGE_BEFORE_AUTH)).await;
    client.until("auth:success").await;
    let mut client = Client::open(&relay).await;
    client.text(auth(limits::MAX_MESSAGE_BEFORE_AUTH + 1)).await;
    assert_eq!(client.closed().await.0, 1009);
    let (mut client, success) = Client::v1(&relay, &token, json!({})).await;
    assert_eq!(success["limits"]["max_message"], limits::MAX_MESSAGE);
    client.text(ping(limits::MAX_MESSAGE as usize)).await;
    client.expect("pong").await;
    client.text(ping(limits::MAX_MESSAGE as usize + 1)).await;
    assert_eq!(client.closed().await.0, 1009);
    let (mut client, _) = Client::v1(&relay, &token, json!({})).await;
    for shape in [
        r#"{"type":"ping","payload":{"timestamp":1e400}}"#.to_owned(),
        r#"{"type":"ping","type":"ping"}"#.to_owned(),
        format!("{}{}", "[".repeat(33), "]".repeat(33)),
        Value::from(vec![json!({"type":"ping"}); limits::MAX_BATCH_IN + 1]).to_string(),
    ] {
        client.text(shape).await;
        assert_eq!(client.expect("error").await["error"]["code"], "invalid");
    }
    all_met(&relay, "messages").await;
    // A smaller bound is the one announced, and the one that holds.
    let relay = start(&["--max-message", "2000"]);
    let token = relay.token("kitchen").await;
    let (mut client, success) = Client::v1(&relay, &token, json!({})).await;
    assert_eq!(success["limits"]["max_message"], 2000);
    client.text(ping(2000)).await;
    client.expect("pong").await;
    client.text(ping(2001)).await;
    assert_eq!(client.closed().await.0, 1009);
}

fn cancel(n: usize) -> Value {
    json!({"type":"order:cancel","id":format!("c{n}"),"payload":{"order_id":"none"}})
}

#[tokio::test]
async fn rates() {
    let relay = start(&["--rate-limit", "1/s,burst=10"]);
    let token = relay.token("manager").await;
    let (mut client, success) = Client::v1(&relay, &token, json!({})).await;
    assert_eq!(
        (
            &success["limits"]["rate_per_s"],
            &success["limits"]["burst"]
        ),
        (&json!(1), &json!(10)),
        "what is in force is what is announced"
    );
    client.send((0..10).map(cancel).collect()).await;
    for _ in 0..10 {
        assert_eq!(client.expect("nack").await["error"]["code"], "not_found");
    }
    client.send(cancel(10)).await;
    let mut nack = client.expect("nack").await;
    // A slow machine may have earned one meanwhile.
    if nack["error"]["code"] == "not_found" {
        client.send((11..14).map(cancel).collect()).await;
        nack = client.until("nack").await;
    }
    assert!(["rate_limited", "not_found"].contains(&nack["error"]["code"].as_str().unwrap()));
    client.send((20..120).map(cancel).collect()).await;
    client.send((120..220).map(cancel).collect()).await;
    client.send((220..320).map(cancel).collect()).await;
    assert_eq!(client.closed().await.0, 4029);

    let mut http = relay.http().await;
    let mut statuses = Vec::new();
    for _ in 0..60 {
        let answer = http.post(ORDERS, &token, &burger("1")).await;
        statuses.push(answer.status);
        if answer.status == 429 {
            assert!(answer.header("retry-after").is_some());
            break;
        }
    }
    assert_eq!(statuses.last(), Some(&429));
    assert!(statuses.len() > 10, "{statuses:?}");
    let service = relay.token("service").await;
    for _ in 0..30 {
        let answer = http
            .post(EVENTS, &service, r#"{"type":"kds:update","payload":1}"#)
            .await;
        assert_eq!(answer.status, 202, "service is bound by the queue only");
    }

    let (mut client, _) = Client::v1(&relay, &service, json!({})).await;
    for _ in 0..20 {
        client
            .send(json!({"type":"ping","payload":{"timestamp":1}}))
            .await;
    }
    client.send(json!({"type":"auth","token":service})).await;
    client.until("auth:success").await;
    client.send(json!({"type":"auth","token":service})).await;
    let error = client.until("error").await;
    assert_eq!(
        (&error["error"]["code"], &error["ref_type"]),
        (&json!("rate_limited"), &json!("auth"))
    );
    client
        .send(json!({"type":"orders:sync","id":"s1","payload":{"request_full_sync":true}}))
        .await;
    client.until("sync_complete").await;
    client
        .send(json!({"type":"orders:sync","id":"s2","payload":{"request_full_sync":true}}))
        .await;
    let nack = client.until("nack").await;
    assert_eq!(
        (&nack["error"]["code"], &nack["id"]),
        (&json!("rate_limited"), &json!("s2"))
    );
    all_met(&relay, "rates").await;
}

#[tokio::test]
async fn answers_not_read() {
    let data = tempfile::tempdir().unwrap();
    // On a disk a commit takes long enough for more commands than may wait.
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("service").await;
    let (mut client, _) = Client::v1(&relay, &token, json!({})).await;
    for round in 0..20 {
        // In one write, so that the relay reads them all before it hears of the first commit.
        let arrays = (0..3).map(|array| {
            let first = round * 300 + array * 100;
            (first..first + 100).map(create).collect()
        });
        client.send_at_once(arrays).await;
        let mut overloaded = 0;
        for _ in 0..300 {
            let answer = loop {
                let frame = client.next().await;
                if frame["type"] == "ack" || frame["type"] == "nack" {
                    break frame;
                }
            };
            overloaded += usize::from(answer["error"]["code"] == "overloaded");
        }
        if overloaded > 0 {
            assert!(overloaded <= 300 - limits::CONTROL_QUEUE, "{overloaded}");
            break;
        }
    }
    all_met(&relay, "answers_not_read").await;
}

/// So many bodies published, by several at once.
async fn publish(relay: &Relay, token: &str, path: &str, bodies: Vec<String>) -> Vec<u16> {
    let share = bodies.len().div_ceil(4).max(1);
    let writers = bodies.chunks(share).map(|bodies| async move {
        let mut http = relay.http().await;
        let mut statuses = Vec::new();
        for body in bodies {
            statuses.push(http.post(path, token, body).await.status);
        }
        statuses
    });
    join_all(writers).await.concat()
}

#[tokio::test]
async fn events_kept() {
    let relay = start(&["--log-tail", "500"]);
    let token = relay.token("service").await;
    let (_slow, success) = Client::v1(&relay, &token, json!({})).await;
    let epoch = success["epoch"].as_str().unwrap().to_owned();
    let resumed = |seq: u64| {
        let (relay, token, epoch) = (&relay, &token, &epoch);
        async move {
            let resume = json!({"resume":{"epoch":epoch,"seq":seq}});
            Client::v1(relay, token, resume).await.1["resumed"] == true
        }
    };
    // 30 MB that the slow one does not read.
    let big = json!({"type":"menu:updated","payload":{"text":"x".repeat(60_000)}}).to_string();
    let statuses = publish(&relay, &token, EVENTS, vec![big.clone(); 500]).await;
    assert!(statuses.iter().all(|&status| status == 202));
    assert!(resumed(0).await, "at the bound");
    assert_eq!(met(&relay, hit::TAIL_EVENTS).await, 0.0);
    assert!(
        met(&relay, hit::TAIL_MEMORY).await >= 480.0,
        "1 MiB of it is in memory"
    );
    publish(&relay, &token, EVENTS, vec![big.clone()]).await;
    assert!(!resumed(0).await && resumed(1).await, "above it");
    assert_eq!(met(&relay, hit::TAIL_EVENTS).await, 1.0);
    // 20 s after the socket took its last byte, and cut 5 s later.
    relay
        .until("the slow one is closed", || async {
            met(&relay, hit::WRITE_STALL).await == 1.0
        })
        .await;
    relay
        .until("and cut", || async {
            relay.metric("tautline_connections").await == 0.0
        })
        .await;
    all_met(&relay, "events_kept").await;
}

#[tokio::test]
async fn bytes_kept() {
    let relay = start(&[]);
    let token = relay.token("service").await;
    let big = json!({"type":"menu:updated","payload":{"text":"x".repeat(60_000)}}).to_string();
    // Room for a frame is a little less than what was sent.
    let kept = limits::TAIL_BYTES / (big.len() + 200);
    publish(&relay, &token, EVENTS, vec![big.clone(); kept]).await;
    assert_eq!(met(&relay, hit::TAIL_BYTES).await, 0.0);
    publish(&relay, &token, EVENTS, vec![big; 10]).await;
    all_met(&relay, "bytes_kept").await;
}

/// Sends arrays of a hundred commands and waits for their answers; how many were refused by code.
async fn arrays(client: &mut Client, frames: &[Value]) -> Vec<String> {
    let mut refused = Vec::new();
    for array in frames.chunks(100) {
        client.send(array.to_vec().into()).await;
        for _ in array {
            let answer = loop {
                let frame = client.next().await;
                if frame["type"] == "ack" || frame["type"] == "nack" {
                    break frame;
                }
            };
            if answer["type"] == "nack" {
                refused.push(answer["error"]["code"].as_str().unwrap().to_owned());
            }
        }
    }
    refused
}

fn create(n: usize) -> Value {
    let order: Value = serde_json::from_str(&burger("1")).unwrap();
    json!({"type":"order:create","id":format!("c{n}"),"payload":{"order":order}})
}

fn fact(id: usize, notes: usize) -> String {
    let order =
        json!({"id":format!("f{id}"),"status":"new","type":"dine-in","notes":"x".repeat(notes)});
    json!({"type":"order:created","payload":{"order":order}}).to_string()
}

#[tokio::test]
async fn live_sets() {
    let relay = start(&[]);
    let token = relay.token("service").await;
    let (mut client, _) = Client::v1(&relay, &token, json!({})).await;
    let orders: Vec<_> = (0..limits::LIVE_ORDERS).map(create).collect();
    assert_eq!(arrays(&mut client, &orders).await, [""; 0]);
    assert_eq!(met(&relay, hit::LIVE_ORDERS).await, 0.0);
    assert_eq!(
        arrays(&mut client, &[create(limits::LIVE_ORDERS)]).await,
        ["overloaded"]
    );
    let answer = relay.http().await.post(ORDERS, &token, &burger("1")).await;
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (503, Some("overloaded"))
    );
    // A completed one makes room, and everyone is told that it left.
    let page = relay
        .http()
        .await
        .get(&format!("{ORDERS}?limit=1"), &token)
        .await
        .json();
    let id = page["orders"][0]["id"].as_str().unwrap().to_owned();
    let done = json!({"type":"order:update_status","id":"d","payload":{"order_id":id,"status":"completed"}});
    assert_eq!(arrays(&mut client, &[done]).await, [""; 0]);
    let mut http = relay.http().await;
    assert_eq!(http.post(ORDERS, &token, &burger("1")).await.status, 201);
    assert_eq!(
        client.until("orders:archived").await["payload"]["order_ids"],
        json!([id])
    );
    // The same in bytes, in another restaurant.
    let token = relay.token_for("restaurant_id=heavy&role=service").await;
    let path = "/api/v1/restaurants/heavy/events";
    let few = limits::LIVE_BYTES / (32_000 + 200);
    let heavy = (0..few).map(|n| fact(n, 32_000)).collect();
    assert!(
        publish(&relay, &token, path, heavy)
            .await
            .iter()
            .all(|&status| status == 202)
    );
    assert_eq!(met(&relay, hit::LIVE_BYTES).await, 0.0);
    let over = (few..few + 20).map(|n| fact(n, 32_000)).collect();
    assert!(publish(&relay, &token, path, over).await.contains(&503));
    assert_eq!(
        relay
            .http()
            .await
            .post(path, &token, &fact(0, limits::MAX_ORDER))
            .await
            .status,
        422
    );
    all_met(&relay, "live_sets").await;
}

#[tokio::test]
async fn commands_remembered() {
    let relay = start(&[]);
    let token = relay.token("service").await;
    let (mut client, _) = Client::v1(&relay, &token, json!({})).await;
    arrays(&mut client, &[create(0)]).await;
    let page = relay.http().await.get(ORDERS, &token).await.json();
    let id = page["orders"][0]["id"].as_str().unwrap();
    // Setting the state it has is remembered like any command, and makes no event.
    let again = |n: usize| json!({"type":"order:update_status","id":format!("k{n}"),"payload":{"order_id":id,"status":"new"}});
    let commands: Vec<_> = (1..limits::DEDUPE_COMMANDS).map(again).collect();
    assert_eq!(arrays(&mut client, &commands).await, [""; 0]);
    assert_eq!(met(&relay, hit::DUPLICATE_MEMORY).await, 0.0);
    arrays(&mut client, &[again(limits::DEDUPE_COMMANDS)]).await;
    all_met(&relay, "commands_remembered").await;
}

#[tokio::test]
async fn restaurants_in_memory() {
    let relay = start(&[]);
    let token = relay.token_for("restaurant_id=*&role=service").await;
    let ask = |names: std::ops::Range<usize>| {
        let (relay, token) = (&relay, &token);
        async move {
            let share = names.len().div_ceil(8).max(1);
            let askers = names.clone().step_by(share).map(|first| {
                let last = (first + share).min(names.end);
                async move {
                    let mut http = relay.http().await;
                    for n in first..last {
                        let path = format!("/api/v1/restaurants/r{n}/orders");
                        assert_eq!(http.get(&path, token).await.status, 200);
                    }
                }
            });
            join_all(askers).await;
        }
    };
    ask(0..limits::RESTAURANTS).await;
    assert_eq!(
        relay.metric("tautline_restaurants").await,
        limits::RESTAURANTS as f64
    );
    assert_eq!(met(&relay, hit::RESTAURANTS).await, 0.0);
    ask(limits::RESTAURANTS..limits::RESTAURANTS + 10).await;
    assert_eq!(
        relay.metric("tautline_restaurants").await,
        limits::RESTAURANTS as f64
    );
    assert_eq!(met(&relay, hit::RESTAURANTS).await, 10.0);
    // The one that had to leave is asked for again, and is there.
    ask(0..1).await;
    all_met(&relay, "restaurants_in_memory").await;
}

/// The machine is too busy for this relay: it runs for 20 ms in every 520.
struct Starved<'a>(&'a Relay);

impl Starved<'_> {
    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let started = Instant::now();
        loop {
            self.0.signal(Signal::STOP);
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.0.signal(Signal::CONT);
            let asked = tokio::time::timeout(Duration::from_millis(20), holds()).await;
            if asked == Ok(true) {
                return;
            }
            assert!(started.elapsed() < 2 * DEADLINE, "in vain: {what}");
        }
    }
}

#[tokio::test]
async fn revoked_subs() {
    let data = tempfile::tempdir().unwrap();
    let mut relay = Relay::start(data.path(), &[]);
    relay.signal(Signal::TERM);
    assert_eq!(relay.ended().await.code(), Some(0));
    // All but the last, as if they had been revoked one by one.
    let db = rusqlite::Connection::open(data.path().join("tautline.db")).unwrap();
    let far = i64::MAX;
    db.execute(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
         INSERT INTO revocation SELECT 'demo', 'sub-' || n, 1, ?2 FROM n",
        [limits::REVOCATIONS as i64 - 1, far],
    )
    .unwrap();
    drop(db);
    let relay = Relay::start(data.path(), &[]);
    let service = relay.token("service").await;
    let revoke = async |body: &str| {
        let mut http = relay.http().await;
        let path = "/api/v1/restaurants/demo/revoke";
        http.post(path, &service, body).await
    };
    let one = |sub: &str| json!({"sub": sub, "iat_before": 1}).to_string();
    assert_eq!(revoke(&one("the last")).await.status, 200);
    let refused = revoke(&one("one more")).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (503, &json!("overloaded"))
    );
    assert_eq!(revoke(&one("sub-7")).await.status, 200, "known already");
    assert_eq!(revoke(r#"{"iat_before":1}"#).await.status, 200, "everyone");
    all_met(&relay, "revoked_subs").await;
}

#[tokio::test]
async fn a_relay_that_does_not_keep_up() {
    let relay = start(&[]);
    let token = relay.token("service").await;
    let (mut behind, _) = Client::v1(&relay, &token, json!({})).await;
    let (mut current, _) = Client::v1(&relay, &token, json!({})).await;
    let big = json!({"type":"menu:updated","payload":{"text":"x".repeat(60_000)}}).to_string();
    let (statuses, ()) = tokio::join!(publish(&relay, &token, EVENTS, vec![big; 300]), async {
        for _ in 0..300 {
            current.until("menu:updated").await;
        }
    });
    assert!(statuses.iter().all(|&status| status == 202));
    assert!(
        relay.metric("tautline_cursor_lag_events").await > 0.0,
        "one is behind"
    );
    let starved = Starved(&relay);
    starved
        .until("new sockets are refused", async || {
            Client::try_open(relay.address, &[]).await.err() == Some((503, Some("2".to_owned())))
        })
        .await;
    // Whoever is behind goes, who is not stays, and in the end commands are refused.
    starved
        .until("commands are refused", async || {
            let answer = relay.http().await.post(ORDERS, &token, &burger("1")).await;
            answer.status == 503 && answer.json()["code"] == "overloaded"
        })
        .await;
    assert_eq!(behind.closed().await.0, 1013);
    current
        .send(json!({"type":"ping","payload":{"timestamp":1}}))
        .await;
    current.until("pong").await;
    all_met(&relay, "a_relay_that_does_not_keep_up").await;
    // Left alone it takes everything again, commands first.
    relay
        .until("commands are taken", || async {
            relay
                .http()
                .await
                .post(ORDERS, &token, &burger("1"))
                .await
                .status
                == 201
        })
        .await;
    relay
        .until("sockets are taken", || async {
            Client::try_open(relay.address, &[]).await.is_ok()
        })
        .await;
}
