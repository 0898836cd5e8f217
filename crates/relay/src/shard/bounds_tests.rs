//! Bounds that a test of the whole relay could meet only with minutes, gigabytes or a disk that waits: met on a shard,
//! with bounds of its own where the real ones are that large (their numbers are tested on the machines).

use super::tests::{Client, Rig, close_code};
use super::*;
use crate::limit::seen::met;
use crate::load;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::time::Instant;
use tautline_machine::relay::{Nack, Scope, Stage};
use tautline_protocol::limits::hit;
use tautline_protocol::request::{Command, http};
use tautline_protocol::{NackCode, Role};

const DEADLINE: Duration = Duration::from_secs(60);

async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < DEADLINE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn publish(bytes: usize) -> Command {
    let text = "x".repeat(bytes);
    let body = json!({"type":"kds:update","payload":text}).to_string();
    http::publish("r", &body).unwrap().0
}

fn order(id: usize) -> Command {
    let order = json!({"id":format!("o{id}"),"status":"new","notes":"x".repeat(30_000)});
    let body = json!({"type":"order:created","payload":{"order":order}}).to_string();
    http::publish("r", &body).unwrap().0
}

/// Asks for many commands at once; their answers, in order.
async fn all(rig: &Rig, restaurant: &str, commands: Vec<Command>) -> Vec<Answer> {
    let (senders, answers): (Vec<_>, Vec<_>) = commands.iter().map(|_| oneshot::channel()).unzip();
    let name = restaurant.to_owned();
    rig.handle.tell(move |shard| {
        for (command, done) in commands.into_iter().zip(senders) {
            let author = Author {
                scope: Scope::new("pos", Role::Service),
                key: None,
            };
            shard.submit_http(&name, author, command, done);
        }
    });
    let mut answered = Vec::new();
    for answer in answers {
        answered.push(answer.await.unwrap());
    }
    answered
}

fn refused(answer: &Answer) -> Option<(NackCode, Option<&'static str>)> {
    match answer {
        Answer::Nack(Nack { code, limit, .. }) => Some((*code, *limit)),
        Answer::Ack(_) => None,
    }
}

#[tokio::test]
async fn records_that_wait_for_the_store() {
    assert!(!met(hit::APPEND_QUEUE));
    let rig = Rig::with(Bounds::default());
    // Both restaurants are there before the disk takes its time.
    for name in ["a", "b"] {
        assert_eq!(refused(&all(&rig, name, vec![publish(1)]).await[0]), None);
    }
    let held = rig.store.hold();
    let half = limits::APPEND_QUEUE / 2;
    let full = async {
        tokio::join!(
            all(&rig, "a", vec![publish(1); half]),
            all(&rig, "b", vec![publish(1); half])
        )
    };
    let one_more = async {
        until("all wait", || async {
            rig.handle.get(|shard| shard.pending).await == Some(limits::APPEND_QUEUE)
        })
        .await;
        let answer = all(&rig, "b", vec![publish(1)]).await;
        drop(held);
        answer
    };
    let ((a, b), one_more) = tokio::join!(full, one_more);
    assert_eq!(
        refused(&one_more[0]),
        Some((NackCode::Overloaded, Some(hit::APPEND_QUEUE)))
    );
    assert!(
        a.iter().chain(&b).all(|answer| refused(answer).is_none()),
        "up to the bound all are stored"
    );
    assert!(met(hit::APPEND_QUEUE));
    assert_eq!(refused(&all(&rig, "b", vec![publish(1)]).await[0]), None);
}

#[tokio::test]
async fn commits_that_take_their_time_shed_load_and_then_nothing_is_shed() {
    assert!(!met(hit::OVERLOAD));
    let rig = Rig::with(Bounds::default());
    all(&rig, "a", vec![publish(1)]).await;
    let watch = tokio::spawn(load::watch(rig.handle.clone(), Arc::clone(&rig.pressure)));
    let held = rig.store.hold();
    let waiting = all(&rig, "a", vec![publish(1)]);
    let shed = async {
        let mut stages = vec![Stage::Normal];
        until("commands are refused", || {
            let stage = rig.pressure.stage();
            if stages.last() != Some(&stage) {
                stages.push(stage);
            }
            async move { stage == Stage::Commands }
        })
        .await;
        assert_eq!(
            stages,
            [
                Stage::Normal,
                Stage::Sockets,
                Stage::Cursors,
                Stage::Commands
            ]
        );
        let answer = all(&rig, "a", vec![publish(1)]).await;
        assert_eq!(
            refused(&answer[0]),
            Some((NackCode::Overloaded, Some(hit::OVERLOAD)))
        );
        drop(held);
    };
    let (waited, ()) = tokio::join!(waiting, shed);
    assert_eq!(refused(&waited[0]), None, "what was taken is stored");
    until("nothing is refused", || async {
        rig.pressure.stage() == Stage::Normal
    })
    .await;
    assert_eq!(refused(&all(&rig, "a", vec![publish(1)]).await[0]), None);
    watch.abort();
}

#[tokio::test]
async fn tails_of_all_restaurants() {
    assert!(!met(hit::TAIL_MEMORY_ALL));
    let rig = Rig::with(Bounds {
        tail_memory: 250_000,
        ..Bounds::default()
    });
    let memory = async |name: &'static str| {
        // Not by name: asking would make it the one last used.
        rig.handle
            .get(move |shard| match shard.restaurants.get(name) {
                Some(Slot::Loaded(restaurant)) => restaurant.borrow().log.memory_bytes(),
                _ => 0,
            })
            .await
            .unwrap()
    };
    let clock = || rig.handle.get(|shard| shard.clock.now());
    for name in ["a", "b"] {
        all(&rig, name, vec![publish(50_000), publish(50_000)]).await;
        // Which was used first is told in milliseconds.
        let used = clock().await;
        until("the next is used later", || async { clock().await > used }).await;
    }
    assert!(memory("a").await > 100_000 && memory("b").await > 100_000);
    assert!(!met(hit::TAIL_MEMORY_ALL));
    all(&rig, "c", vec![publish(50_000)]).await;
    assert_eq!(memory("a").await, 0, "longest out of use");
    assert!(memory("b").await > 100_000 && memory("c").await > 50_000);
    assert!(met(hit::TAIL_MEMORY_ALL));
    // Who was there before it left memory still gets everything.
    let mut client = rig
        .asking(
            "a",
            Role::Service,
            json!({"resume":{"epoch":epoch(&rig, "a").await,"seq":0}}),
        )
        .await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(frames(&mut client).await.iter().filter_map(|frame| {
            frame["seq"]
                .as_u64()
                .filter(|_| frame["type"] == "kds:update")
        }));
    }
    assert_eq!(seen, [1, 2]);
}

async fn epoch(rig: &Rig, name: &str) -> String {
    rig.handle
        .restaurant(name, |restaurant| {
            restaurant.log.epoch().as_str().to_owned()
        })
        .await
        .unwrap()
}

/// The next message's frames; none when it is no text.
async fn frames(client: &mut Client) -> Vec<Value> {
    let message = tokio::time::timeout(DEADLINE, client.next()).await.unwrap();
    let Some(Ok(text)) = message.map(|message| message.unwrap().into_text()) else {
        return Vec::new();
    };
    match serde_json::from_str(&text) {
        Ok(Value::Array(frames)) => frames,
        Ok(frame) => vec![frame],
        Err(_) => Vec::new(),
    }
}

#[tokio::test]
async fn a_restaurant_that_nobody_asks_for() {
    assert!(!met(hit::RESTAURANT_IDLE));
    let rig = Rig::with(Bounds {
        restaurant_idle_ms: 200,
        ..Bounds::default()
    });
    all(&rig, "a", vec![publish(1)]).await;
    let client = rig.asking("b", Role::Service, json!({})).await;
    until("both are there", || async {
        rig.handle.get(|shard| shard.restaurants.len()).await == Some(2)
    })
    .await;
    until("one leaves", || async {
        rig.handle.get(|shard| shard.tick()).await;
        rig.handle.get(|shard| shard.restaurants.len()).await == Some(1)
    })
    .await;
    assert!(met(hit::RESTAURANT_IDLE));
    let left = rig
        .handle
        .get(|shard| shard.restaurants.contains_key("b"))
        .await;
    assert_eq!(left, Some(true), "someone hangs on it");
    drop(client);
    until(
        "both have left, and their events are not counted",
        || async {
            rig.handle.get(|shard| shard.tick()).await;
            let held = |shard: &mut crate::shard::Shard| {
                (shard.restaurants.len(), shard.in_use.tail_memory())
            };
            rig.handle.get(held).await == Some((0, 0))
        },
    )
    .await;
    // What it held is in the store.
    assert_eq!(
        rig.handle
            .restaurant("a", |restaurant| restaurant.log.head())
            .await,
        Some(1)
    );
}

#[tokio::test]
async fn snapshots_being_sent() {
    assert!(!met(hit::SNAPSHOTS));
    let rig = Rig::with(Bounds {
        snapshots: 1,
        snapshot_wait_ms: 2_000,
        ..Bounds::default()
    });
    // More than sockets take without being read.
    let orders = (0..800).map(order).collect();
    assert!(
        all(&rig, "large", orders)
            .await
            .iter()
            .all(|answer| refused(answer).is_none())
    );
    let sync = json!({"sync":true});
    let slow = rig.asking("large", Role::Service, sync.clone()).await;
    let taken = || async { rig.handle.get(|shard| !shard.has_snapshot()).await == Some(true) };
    until("one is being sent", taken).await;
    assert!(!met(hit::SNAPSHOTS));
    // A second waits, and gets its own when the first is done; who needs none does not wait.
    let mut waiting = rig.asking("small", Role::Service, sync.clone()).await;
    until("it waits", || async { met(hit::SNAPSHOTS) }).await;
    let mut live = rig.asking("small", Role::Service, json!({})).await;
    while !frames(&mut live)
        .await
        .iter()
        .any(|frame| frame["type"] == "auth:success")
    {}
    drop(slow);
    while !frames(&mut waiting)
        .await
        .iter()
        .any(|frame| frame["type"] == "sync_complete")
    {}
    // One that waits for too long is sent away.
    let _slow = rig.asking("large", Role::Service, sync.clone()).await;
    until("one is being sent", taken).await;
    assert_eq!(
        close_code(rig.asking("small", Role::Service, sync).await).await,
        Some(1013)
    );
}

#[tokio::test]
async fn restaurants_that_are_all_in_use() {
    let rig = Rig::with(Bounds {
        restaurants: 2,
        ..Bounds::default()
    });
    let there = async |client: &mut Client| {
        while !frames(client)
            .await
            .iter()
            .any(|frame| frame["type"] == "auth:success")
        {}
    };
    let mut one = rig.asking("a", Role::Service, json!({})).await;
    there(&mut one).await;
    // One that nobody hangs on leaves for another.
    assert_eq!(refused(&all(&rig, "b", vec![publish(1)]).await[0]), None);
    let mut other = rig.asking("c", Role::Service, json!({})).await;
    there(&mut other).await;
    // Now both are in use.
    let answer = all(&rig, "b", vec![publish(1)]).await;
    assert_eq!(
        refused(&answer[0]).map(|(code, _)| code),
        Some(NackCode::Overloaded)
    );
    let third = rig.asking("b", Role::Service, json!({})).await;
    assert_eq!(close_code(third).await, Some(1013));
    drop(one);
    until("there is room again", || async {
        refused(&all(&rig, "b", vec![publish(1)]).await[0]).is_none()
    })
    .await;
}
