//! What the relay's UDP port does for those that are in no call: nothing.

use crate::caller::Caller;
use crate::support::met;
use crate::{post, relay, secret};
use std::time::Duration;
use tautline_protocol::limits::{self, hit};
use tokio::net::UdpSocket;

fn udp_port(answer: &str) -> std::net::SocketAddr {
    let line = answer
        .lines()
        .find(|line| line.starts_with("a=candidate:") && line.to_lowercase().contains(" udp "))
        .unwrap();
    let words: Vec<_> = line.split(' ').collect();
    format!("{}:{}", words[4], words[5]).parse().unwrap()
}

/// A binding request for that name, not signed.
fn request(name: &str) -> Vec<u8> {
    let name = name.as_bytes();
    let padded = name.len().next_multiple_of(4);
    let mut bytes = vec![0, 1];
    bytes.extend(((4 + padded) as u16).to_be_bytes());
    bytes.extend([0x21, 0x12, 0xa4, 0x42]);
    bytes.extend([9; 12]);
    bytes.extend([0, 6]);
    bytes.extend((name.len() as u16).to_be_bytes());
    bytes.extend(name);
    bytes.resize(20 + 4 + padded, 0);
    bytes
}

#[tokio::test(flavor = "current_thread")]
async fn an_address_that_only_the_offer_named_hears_nothing() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let victim = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = victim.local_addr().unwrap();
    let (mut caller, offer) = Caller::new().await;
    let candidate = format!(
        "a=candidate:1 1 udp 2130706431 127.0.0.1 {} typ host\r\n",
        at.port()
    );
    let offer = offer
        .replace("a=mid:", &format!("{candidate}a=mid:"))
        .replace("c=IN IP4 0.0.0.0", "c=IN IP4 127.0.0.1");
    assert!(offer.contains(&candidate));
    let answer = post(&relay, "/calls", &key, "application/sdp", &offer).await;
    caller.answered(&answer);
    caller.until("session.created").await;
    // As long as a call is set up at most, and while one is held.
    caller.run_for(Duration::from_secs(3)).await;
    let mut bytes = [0; 2048];
    let heard = victim.try_recv_from(&mut bytes);
    assert!(heard.is_err(), "{heard:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn strangers_are_not_answered_and_after_fifty_not_heard() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let (_caller, offer) = Caller::new().await;
    let answer = post(&relay, "/calls", &key, "application/sdp", &offer).await;
    let port = udp_port(&answer.body);
    let name = answer
        .body
        .lines()
        .find_map(|line| line.strip_prefix("a=ice-ufrag:"))
        .unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let dropped = async |reason: &str| {
        let name = format!("tautline_udp_dropped_total{{reason=\"{reason}\"}}");
        relay.metric(&name).await
    };
    for datagram in [
        b"hello".to_vec(),
        request("nobody:x"),
        // The name is right, the signature is missing.
        request(&format!("{name}:x")),
        vec![22, 254, 253, 0],
        vec![0x80; 40],
    ] {
        stranger.send_to(&datagram, port).await.unwrap();
    }
    relay
        .until("five dropped", || async {
            dropped("malformed").await >= 1.0
                && dropped("unknown_name").await == 1.0
                && dropped("integrity").await + dropped("malformed").await >= 2.0
                && dropped("unknown_source").await >= 1.0
        })
        .await;
    assert_eq!(met(&relay, hit::UDP_STRANGERS).await, 0.0);
    // An address is one whatever the ports: half of them come from another.
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..limits::UDP_STRANGER_PER_S {
        stranger.send_to(b"hello", port).await.unwrap();
        other.send_to(b"hello", port).await.unwrap();
    }
    relay
        .until("ignored", || async { dropped("ignored").await >= 1.0 })
        .await;
    let third = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let before = dropped("ignored").await;
    third.send_to(b"hello", port).await.unwrap();
    relay
        .until("one more ignored", || async {
            dropped("ignored").await > before
        })
        .await;
    let mut bytes = [0; 2048];
    assert!(stranger.try_recv_from(&mut bytes).is_err());
    assert_eq!(met(&relay, hit::UDP_STRANGERS).await, 1.0);
    // A call's own name is listened to, though it comes from there.
    Caller::call(&relay, &key).await;
    assert_eq!(met(&relay, hit::UDP_STRANGERS).await, 1.0);
}

#[tokio::test(flavor = "current_thread")]
async fn an_address_that_does_not_answer_gets_three_times_what_came_from_it() {
    let relay = relay(&[]);
    let key = secret(&relay, "kiosk").await;
    let (mut caller, offer) = Caller::new().await;
    let answer = post(&relay, "/calls", &key, "application/sdp", &offer).await;
    let port = udp_port(&answer.body);
    caller.answered(&answer);
    // One genuine check of the caller's, sent from elsewhere, which then says nothing.
    let check = caller.first_datagram().await;
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    silent.send_to(&check, port).await.unwrap();
    let mut got = 0;
    let mut bytes = [0; 2048];
    let until = tokio::time::Instant::now() + Duration::from_secs(9);
    while let Ok(Ok((n, _))) = tokio::time::timeout_at(until, silent.recv_from(&mut bytes)).await {
        got += n;
    }
    assert!(got > 0, "a genuine check is answered");
    assert!(
        got <= limits::UDP_AMPLIFICATION as usize * check.len(),
        "{got} bytes for {}",
        check.len()
    );
    let held = relay
        .metric("tautline_udp_dropped_total{reason=\"amplification\"}")
        .await;
    assert!(held >= 1.0);
    assert_eq!(met(&relay, hit::UDP_AMPLIFICATION).await, held);
}
