//! SIGKILL under load.

use crate::load::*;
use crate::rng::Rng;
use crate::support::*;
use std::process::Stdio;
use std::time::Duration;

#[tokio::test]
async fn a_killed_relay_keeps_what_it_said_and_says_nothing_twice() {
    let (rounds, seed) = (times("TAUTLINE_KILLS", 4), times("TAUTLINE_SEED", 1));
    let mut rng = Rng::new(seed);
    let data = tempfile::tempdir().unwrap();
    let mut total = Audit::default();
    let mut relay = Relay::start(data.path(), &FAST);
    let token = relay.token("service").await;
    let mut base = position(&relay, &token).await;
    let (mut unanswered, mut starts) = (0, 0);
    for round in 0..rounds {
        let load = Load::start(&relay, &token, &format!("k{round}"), 8, || 0).await;
        load.until_acked(1 + rng.below(400) as usize).await;
        // Anywhere in a commit, a checkpoint, an answer half written.
        tokio::time::sleep(Duration::from_micros(rng.below(4_000))).await;
        relay.kill();
        let witness = load.witness().await;
        if rng.below(3) == 0 {
            starts += 1;
            kill_at_start(data.path(), rng.below(60)).await;
        }
        relay = Relay::start(data.path(), &FAST);
        let found = audit(&relay, &token, &base, &witness, u64::MAX).await;
        assert!(found.holds(), "seed {seed}, round {round}: {found:?}");
        assert!(witness.refused.is_empty(), "{:?}", witness.refused);
        ask_again(&relay, &token, &base, &witness, u64::MAX).await;
        sound(data.path());
        unanswered += witness.unanswered.len();
        total.add(&found);
        base.head = position(&relay, &token).await.head;
    }
    figure("SIGKILL under load: rounds", rounds);
    figure("… of them followed by one during the start", starts);
    figure("… commands acked", total.acked);
    figure("… of them lost or done twice", total.lost + total.doubled);
    figure(
        "… commands unanswered, then done once when asked again",
        unanswered,
    );
    figure("… events shown", total.shown);
    figure("… of them gone or changed", total.gone);
}

/// A relay that is killed on its way up: while it recovers, checks, or already serves.
async fn kill_at_start(data: &std::path::Path, ms: u64) {
    let mut child = command()
        .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(ms)).await;
    child.kill().unwrap();
    child.wait().unwrap();
}
