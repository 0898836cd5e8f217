//! `backup`, `restore`, `import`: beside a relay at work, killed at every moment, and when the power goes.

use crate::disk::{self, Disk};
use crate::layer::Layer;
use crate::load::*;
use crate::rng::Rng;
use crate::support::*;
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn done(args: &[&str]) -> String {
    let (code, out, err) = run(args);
    assert_eq!(code, 0, "{args:?}: {err}");
    out
}

#[tokio::test]
async fn a_backup_beside_a_busy_relay_holds_all_that_was_acked_before_it_began() {
    let data = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &FAST);
    let token = relay.token("service").await;
    let clock = Arc::<AtomicU64>::default();
    let moment = {
        let clock = Arc::clone(&clock);
        move || clock.load(Ordering::Relaxed)
    };
    let load = Load::start(&relay, &token, "b", 8, moment).await;
    let file = |n: u64| out.path().join(format!("{n}.db"));
    for n in 0..3 {
        load.until_acked(load.acked() + 100).await;
        clock.store(n + 1, Ordering::Relaxed);
        let (data, file) = (data.path().to_owned(), file(n));
        tokio::task::spawn_blocking(move || {
            done(&["backup", "--data-dir", text(&data), "--to", text(&file)])
        })
        .await
        .unwrap();
    }
    load.until_acked(load.acked() + 50).await;
    relay.kill();
    let witness = load.witness().await;
    assert!(witness.refused.is_empty(), "the relay was disturbed");
    for n in 0..3 {
        let restored = out.path().join(format!("restored-{n}"));
        done(&[
            "restore",
            "--from",
            text(&file(n)),
            "--data-dir",
            text(&restored),
        ]);
        sound(&restored);
        let lines = out.path().join("lines");
        done(&[
            "export",
            "--data-dir",
            text(&restored),
            "--restaurant",
            "demo",
            "--to",
            text(&lines),
        ]);
        let lines = std::fs::read_to_string(lines).unwrap();
        let acked: Vec<&Acked> = witness.acked.iter().filter(|acked| acked.at <= n).collect();
        assert!(acked.len() >= 100);
        for acked in acked {
            assert!(
                lines.contains(&format!("\"id\":\"{}\"", acked.id)),
                "{}",
                acked.id
            );
        }
    }
}

/// The tables of the open orders, by a relay that finds the folder as it is.
async fn tables(layer: &Layer, data: &Path) -> BTreeSet<String> {
    let relay = Relay::spawn(layer.command(), data, &[]);
    let token = relay.token("manager").await;
    let list = relay.http().await.get(ORDERS, &token).await.json();
    relay.kill();
    sound(data);
    let orders = list["orders"].as_array().unwrap();
    orders
        .iter()
        .map(|order| order["table_number"].as_str().unwrap().to_owned())
        .collect()
}

/// A store with an order for each table.
async fn store(data: &Path, tables: &[&str]) {
    let relay = Relay::start(data, &[]);
    let token = relay.token("service").await;
    for table in tables {
        let made = relay
            .http()
            .await
            .post(ORDERS, &token, &burger(table))
            .await;
        assert_eq!(made.status, 201);
    }
    // Its last words are in the write-ahead log.
    relay.kill();
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Runs a command on a copy of `old`, killed at its every change (or at some, unless asked for all), and with the power cut
/// at random moments. What is left must be one of two things by the word of `new`: whether it is the new one.
async fn old_or_new(
    name: &str,
    layer: &mut Layer,
    old: &Path,
    args: &[&str],
    mut new: impl AsyncFnMut(&Layer) -> bool,
) {
    let thorough = times("TAUTLINE_KILLS", 4) >= 100;
    let seed = times("TAUTLINE_SEED", 1);
    let run = |layer: &Layer| layer.command().args(args).output().unwrap();
    copy(old, &layer.data());
    layer.forget();
    let before = Disk::of(&layer.root());
    let ended = run(layer);
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    let story = layer.trace();
    let changes = disk::changes(&story);
    assert!(changes > 5, "{changes}");
    assert!(new(layer).await, "it was done");
    let step = if thorough { 1 } else { changes.div_ceil(10) };
    let (mut kills, mut was_new) = (0, false);
    for at in (0..changes)
        .rev()
        .step_by(step)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        copy(old, &layer.data());
        layer.environment.push(("LAYER_KILL_AT", at.to_string()));
        let ended = run(layer);
        layer.environment.pop();
        assert_eq!(
            ended.status.signal(),
            Some(9),
            "at {at} of {changes}: {}",
            String::from_utf8_lossy(&ended.stderr)
        );
        let is_new = new(layer).await;
        assert!(is_new || !was_new, "new before change {at}, old after it");
        was_new = is_new;
        kills += 1;
    }
    let cuts = if thorough { 100 } else { 8 };
    let mut rng = Rng::new(seed);
    for _ in 0..cuts {
        let mut disk = before.clone();
        disk.replay(&story[..rng.below(story.len() as u64 + 1) as usize]);
        disk.cut(&layer.root(), &mut rng);
        new(layer).await;
    }
    // Answered only when it is for good.
    let mut disk = before;
    disk.replay(&story);
    for _ in 0..4 {
        disk.cut(&layer.root(), &mut rng);
        assert!(new(layer).await, "it said it was done, seed {seed}");
    }
    figure(
        &format!("`{name}` killed before each of its changes, or the power cut: times"),
        kills + cuts + 4,
    );
    figure("… left neither the old nor the new state", 0);
}

#[tokio::test]
async fn an_interrupted_restore_leaves_the_old_store_or_the_new() {
    let out = tempfile::tempdir().unwrap();
    let (old, other) = (out.path().join("old"), out.path().join("other"));
    store(&old, &["a", "b"]).await;
    store(&other, &["c"]).await;
    let file = out.path().join("other.db");
    done(&["backup", "--data-dir", text(&other), "--to", text(&file)]);
    let mut layer = Layer::new();
    let data = layer.data();
    let args = [
        "restore",
        "--from",
        text(&file),
        "--data-dir",
        text(&data),
        "--force",
    ];
    old_or_new("restore", &mut layer, &old, &args, async |layer| {
        let tables = tables(layer, &layer.data()).await;
        let new = tables == BTreeSet::from(["c".to_owned()]);
        assert!(
            new || tables == BTreeSet::from(["a".to_owned(), "b".to_owned()]),
            "{tables:?}"
        );
        new
    })
    .await;
}

#[tokio::test]
async fn an_interrupted_import_leaves_the_old_restaurant_or_the_new() {
    let out = tempfile::tempdir().unwrap();
    let (old, other) = (out.path().join("old"), out.path().join("other"));
    store(&old, &["a", "b"]).await;
    store(&other, &["c"]).await;
    let file = out.path().join("demo.jsonl");
    done(&[
        "export",
        "--data-dir",
        text(&other),
        "--restaurant",
        "demo",
        "--to",
        text(&file),
    ]);
    let mut layer = Layer::new();
    let data = layer.data();
    let args = [
        "import",
        "--from",
        text(&file),
        "--data-dir",
        text(&data),
        "--replace",
    ];
    old_or_new("import", &mut layer, &old, &args, async |layer| {
        let tables = tables(layer, &layer.data()).await;
        let new = tables == BTreeSet::from(["c".to_owned()]);
        assert!(
            new || tables == BTreeSet::from(["a".to_owned(), "b".to_owned()]),
            "{tables:?}"
        );
        new
    })
    .await;
}

#[tokio::test]
async fn an_interrupted_backup_leaves_the_old_file_or_the_new() {
    let out = tempfile::tempdir().unwrap();
    let (old, other) = (out.path().join("old"), out.path().join("other"));
    store(&old, &["a", "b"]).await;
    store(&other, &["c"]).await;
    // The backup of another store is what the new one takes the place of.
    done(&[
        "backup",
        "--data-dir",
        text(&other),
        "--to",
        text(&old.join("kept.db")),
    ]);
    let before = std::fs::read(old.join("kept.db")).unwrap();
    let mut layer = Layer::new();
    let (data, file) = (layer.data(), layer.data().join("kept.db"));
    let args = ["backup", "--data-dir", text(&data), "--to", text(&file)];
    let copies = tempfile::tempdir().unwrap();
    old_or_new("backup", &mut layer, &old, &args, async |layer| {
        // The store itself is untouched, whatever becomes of the copy.
        assert_eq!(tables(layer, &layer.data()).await.len(), 2);
        if std::fs::read(&file).unwrap() == before {
            return false;
        }
        let restored = copies.path().join("restored");
        let _ = std::fs::remove_dir_all(&restored);
        done(&[
            "restore",
            "--from",
            text(&file),
            "--data-dir",
            text(&restored),
        ]);
        assert_eq!(tables(layer, &restored).await.len(), 2);
        true
    })
    .await;
}
