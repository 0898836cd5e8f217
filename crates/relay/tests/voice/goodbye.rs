//! The relay goes down in the middle of calls.

use crate::adapters::front;
use crate::fake::{Fake, Plan};
use crate::sockets::Session;
use crate::stream::Post;
use crate::support::*;
use rustix::process::Signal;
use serde_json::json;
use std::sync::atomic::Ordering;

/// Of each of the two kinds.
const EACH: usize = 50;

/// A hundred calls, each with its upstream.
async fn calls(front: &Relay, fake: &Fake) -> (Vec<Post>, Vec<Session>) {
    let token = front.token("server").await;
    let (mut posts, mut sessions) = (Vec::new(), Vec::new());
    for _ in 0..EACH {
        posts.push(Post::start(front, &token, json!({})).await.0);
        let session = Session::open(front, "?model=gpt-realtime", Some(&token), None);
        sessions.push(session.await.unwrap());
    }
    front
        .until("each upstream is reached", || async {
            fake.open.load(Ordering::Relaxed) == 2 * EACH
        })
        .await;
    (posts, sessions)
}

async fn let_go(fake: &Fake) {
    let wait = async {
        while fake.is_open() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait)
        .await
        .expect("each upstream is let go");
}

#[tokio::test(flavor = "current_thread")]
async fn in_the_middle_of_a_hundred_calls_each_is_told_and_each_upstream_closed() {
    let fake = Fake::start(&[Plan::Serve]).await;
    let mut front = front(&fake, &["--drain", "20s"]);
    let (posts, sessions) = calls(&front, &fake).await;
    front.signal(Signal::TERM);
    for mut post in posts {
        let (code, reason) = post.closed().await;
        assert_eq!(code, 1012, "{reason}");
        assert!(reason.contains("reconnect_after_ms="), "{reason}");
    }
    for mut session in sessions {
        assert_eq!(session.closed().await.0, 1012);
    }
    assert_eq!(front.ended().await.code(), Some(0));
    let_go(&fake).await;
    let log = std::fs::read_to_string(fake.folder.path().join("log")).unwrap();
    assert!(log.contains("every client has gone"), "within --drain");
    assert!(!log.contains("going down without it"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_second_signal_in_the_middle_of_a_hundred_calls_goes_at_once() {
    let fake = Fake::start(&[Plan::Serve]).await;
    let mut front = front(&fake, &["--drain", "1h"]);
    let calls = calls(&front, &fake).await;
    // A screen that never answers its close keeps the drain waiting.
    let token = front.token("manager").await;
    let deaf = Client::v1(&front, &token, json!({})).await.0;
    let stall = r#"{"kind":"stall"}"#;
    let mut http = front.http().await;
    assert_eq!(http.post("/dev/trouble", "", stall).await.status, 202);
    front.signal(Signal::TERM);
    front
        .until("the drain has begun", || async {
            tokio::net::TcpStream::connect(front.address).await.is_err()
        })
        .await;
    front.signal(Signal::TERM);
    assert_eq!(front.ended().await.code(), Some(0));
    let_go(&fake).await;
    drop((calls, deaf));
}
