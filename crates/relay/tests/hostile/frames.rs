//! Frames that are too many, too large, too small.

use crate::raw::{PING, PONG, Raw, TEXT, frame};
use crate::support::*;
use serde_json::json;
use tautline_protocol::limits;
use tokio::time::timeout;

/// A message as fragments of so many bytes, closed.
fn fragments(message: &[u8], size: usize) -> Vec<u8> {
    let mut out = frame(TEXT, b"");
    for piece in message.chunks(size) {
        out.extend(frame(0, piece));
    }
    out.extend(frame(0x80, b""));
    out
}

#[tokio::test]
async fn a_message_in_thousands_of_fragments_is_one_message() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("kitchen").await;
    let (mut raw, _) = Raw::v1(&relay, &token, None).await;
    let most = limits::MAX_MESSAGE as usize;
    let ping = |len: usize| {
        let frame = json!({"type":"ping","payload":{"timestamp":len},"x":""}).to_string();
        let room = "y".repeat(len - frame.len());
        frame.replace("\"x\":\"\"", &format!("\"x\":\"{room}\""))
    };
    for len in [4_000, most] {
        let message = ping(len);
        assert_eq!(message.len(), len);
        raw.write(&fragments(message.as_bytes(), 1)).await.unwrap();
        assert_eq!(raw.json("pong").await["payload"]["timestamp"], len);
    }
    // One byte more, in fragments that each are small.
    raw.write(&fragments(ping(most + 1).as_bytes(), 1_000))
        .await
        .unwrap();
    assert_eq!(raw.ended().await, Some(1009));
}

#[tokio::test]
async fn giants_are_refused_when_announced() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("kitchen").await;
    let announced = |first: u8, len: u64| {
        let mut head = vec![first, 0xff];
        head.extend(len.to_be_bytes());
        head.extend([1, 2, 3, 4]);
        head
    };
    for len in [u64::from(limits::MAX_MESSAGE) + 1, 1 << 40, (1 << 63) - 1] {
        let (mut raw, _) = Raw::v1(&relay, &token, None).await;
        raw.write(&announced(0x81, len)).await.unwrap();
        assert_eq!(raw.ended().await, Some(1009), "{len}");
        // Before auth as well, and in the second fragment of a message.
        let mut raw = Raw::open(&relay).await;
        raw.write(&[frame(TEXT, b"{"), announced(0x80, len)].concat())
            .await
            .unwrap();
        assert_eq!(raw.ended().await, Some(1009), "{len}");
    }
}

/// Fragments of nothing, without end, make no message and take no memory.
#[tokio::test]
async fn empty_fragments_take_nothing() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("kitchen").await;
    let (mut raw, _) = Raw::v1(&relay, &token, None).await;
    raw.write(&frame(TEXT, b"{")).await.unwrap();
    let many = frame(0, b"").repeat(2_000);
    for _ in 0..100 {
        raw.write(&many).await.unwrap();
    }
    // Between them the peer may still be asked whether it is there, and the message ends as it began.
    raw.write(
        &[
            frame(0x80 | PING, b"there?"),
            frame(0x80, b"\"type\":\"ping\"}"),
        ]
        .concat(),
    )
    .await
    .unwrap();
    let (opcode, payload) = timeout(DEADLINE, raw.frame()).await.unwrap().unwrap();
    assert_eq!((opcode, payload.as_slice()), (PONG, &b"there?"[..]));
    raw.json("pong").await;
}

#[tokio::test]
async fn a_flood_of_pings_is_answered_as_far_as_it_is_read() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("kitchen").await;
    let (mut other, _) = Client::v1(&relay, &token, json!({})).await;
    // Who reads the pongs gets each.
    let (mut polite, _) = Raw::v1(&relay, &token, None).await;
    for n in 0..2_000u32 {
        polite
            .write(&frame(0x80 | PING, &n.to_be_bytes()))
            .await
            .unwrap();
        let (opcode, payload) = timeout(DEADLINE, polite.frame()).await.unwrap().unwrap();
        assert_eq!((opcode, payload), (PONG, n.to_be_bytes().to_vec()));
    }
    // Who does not read them fills the queue and is closed, while others are served.
    let (rude, _) = Raw::v1(&relay, &token, Some(4 * 1024)).await;
    let (mut reading, mut writing) = rude.socket.into_split();
    let flood = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let many = frame(0x80 | PING, &[b'x'; 125]).repeat(500);
        // Ends when the relay has cut it.
        while writing.write_all(&many).await.is_ok() {}
    });
    let closed = || async { relay.metric("tautline_closes_total{code=\"4008\"").await == 1.0 };
    other
        .send(json!({"type":"ping","payload":{"timestamp":1}}))
        .await;
    other.until("pong").await;
    relay.until("it is closed", closed).await;
    timeout(DEADLINE, flood).await.expect("it is cut").unwrap();
    // Nothing but pongs was said to it.
    let mut said = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut reading, &mut said).await;
    assert!(said.first().is_none_or(|first| *first == 0x80 | PONG));
    other.text("nonsense".into()).await;
    other.until("error").await;
}
