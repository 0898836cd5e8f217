//! The defects of the server that this one replaces, each in a test that bears its name. Those of the client's half are in
//! `pkg/test/predecessor.test.mjs`.

use crate::adapters::front;
use crate::fake::{Fake, Plan};
use crate::stream::Post;
use crate::{counts, none_left, relay, sessions};
use serde_json::json;
use std::sync::atomic::Ordering;

/// An upstream that ends each session once it has heard something.
const OVER: &str = r#"
[[step]]
on = "audio"
ms = 100
then = [{ fault = { close = { code = 4000, reason = "over" } } }]
"#;

/// Its error handler reported, and kept the session.
#[tokio::test(flavor = "current_thread")]
async fn defect_session_kept_on_error() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("over.toml");
    std::fs::write(&script, OVER).unwrap();
    let front = relay(&["--upstream", &format!("script:{}", script.display())]);
    let token = front.token("server").await;
    for _ in 0..10 {
        let (mut post, id) = Post::start(&front, &token, json!({})).await;
        post.audio(&crate::pcm_tone(100)).await;
        let error = post.error().await;
        assert_eq!(error["session_id"], id.as_str(), "{error}");
        none_left(&front).await;
        // The connection stays, and may begin another.
        let next = post.begin(json!({"loopback": true})).await;
        assert_ne!(next, id);
        drop(post);
        none_left(&front).await;
    }
}

/// Its clean-up ran on an interval whose handle nobody had.
#[tokio::test(flavor = "current_thread")]
async fn defect_interval_without_a_handle() {
    let relay = relay(&["--session-idle", "1s"]);
    let (token, manager) = (relay.token("server").await, relay.token("manager").await);
    let start = {
        drop(Post::start(&relay, &token, json!({"loopback": true})).await);
        none_left(&relay).await;
        counts(&relay, &manager).await
    };
    for _ in 0..3 {
        let (mut post, _) = Post::start(&relay, &token, json!({"loopback": true})).await;
        assert_eq!(post.error().await["details"]["reason"], "idle");
    }
    relay
        .until("no timer and no task is left of them", || async {
            let now = counts(&relay, &manager).await;
            ["timers", "tasks", "threads"]
                .iter()
                .all(|&kind| now[kind] == start[kind])
        })
        .await;
}

/// Each session left its listeners on the adapter.
#[tokio::test(flavor = "current_thread")]
async fn defect_adapter_listeners_kept() {
    let fake = Fake::start(&[Plan::Serve]).await;
    let front = front(&fake, &[]);
    let token = front.token("server").await;
    let mut post = Post::start(&front, &token, json!({})).await.0;
    for _ in 0..10 {
        front
            .until("one upstream for one session", || async {
                fake.open.load(Ordering::Relaxed) == 1
            })
            .await;
        assert_eq!(sessions(&front).await, 1.0);
        post.send(json!({"type": "session.stop"})).await;
        none_left(&front).await;
        front
            .until("its upstream is let go", || async { !fake.is_open() })
            .await;
        post.begin(json!({})).await;
    }
}
