//! A proxy in front of the relay's UDP port, advertised by `--voice-public-ip`: what NATs and tests of bad networks do.

use crate::caller::Caller;
use crate::{none_left, relay, secret};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::UdpSocket;
use tokio::task::LocalSet;

/// Passes datagrams both ways for one client, while it is open.
async fn forward(front: UdpSocket, relay: SocketAddr, open: Rc<Cell<bool>>) {
    let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    back.connect(relay).await.unwrap();
    let (mut client, mut up, mut down) = (None, [0; 2048], [0; 2048]);
    loop {
        tokio::select! {
            got = front.recv_from(&mut up) => {
                if let Ok((n, from)) = got {
                    client = Some(from);
                    if open.get() {
                        let _ = back.send(&up[..n]).await;
                    }
                }
            }
            got = back.recv(&mut down) => {
                if let (Ok(n), Some(client), true) = (got, client, open.get()) {
                    let _ = front.send_to(&down[..n], client).await;
                }
            }
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_call_goes_through_what_is_advertised_and_ends_when_that_is_cut() {
    LocalSet::new()
        .run_until(async {
            let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let at = front.local_addr().unwrap().to_string();
            // A port that was free a moment ago.
            let free = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let bound = free.local_addr().unwrap();
            drop(free);
            let relay = relay(&["--voice-udp", &bound.to_string(), "--voice-public-ip", &at]);
            let open = Rc::new(Cell::new(true));
            let forwarding = tokio::task::spawn_local(forward(front, bound, Rc::clone(&open)));
            let key = secret(&relay, "kiosk").await;
            let mut caller = Caller::call(&relay, &key).await;
            let done = caller.say("a cola").await;
            assert_eq!(done["response"]["status"], "completed");
            open.set(false);
            none_left(&relay).await;
            let silent = relay
                .metric("tautline_voice_ended_total{reason=\"silence\"}")
                .await;
            assert_eq!(silent, 1.0);
            forwarding.abort();
        })
        .await;
}
