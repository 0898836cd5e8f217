//! Files that somebody else holds, damaged, newer, or brought back from earlier.

use crate::load::*;
use crate::support::*;
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::json;
use std::path::Path;

fn database(data: &Path) -> std::path::PathBuf {
    data.join("tautline.db")
}

/// What `serve` says when it does not start.
fn refused(data: &Path) -> String {
    let (code, out, err) = run(&[
        "serve",
        "--dev",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        data.to_str().unwrap(),
    ]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    err
}

/// A store with something in it, its relay killed.
async fn filled(data: &Path) {
    let relay = Relay::start(data, &FAST);
    let token = relay.token("service").await;
    let load = Load::start(&relay, &token, "x", 8, || 0).await;
    load.until_acked(300).await;
    relay.kill();
    load.witness().await;
}

#[tokio::test]
async fn a_locked_folder_is_refused_to_all_who_would_write() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("service").await;
    relay.http().await.post(ORDERS, &token, &burger("1")).await;
    let out = tempfile::tempdir().unwrap();
    let (backup, lines) = (out.path().join("b.db"), out.path().join("e.jsonl"));
    let (backup, lines) = (backup.to_str().unwrap(), lines.to_str().unwrap());
    let holder = format!("in use by another relay, process {}", relay.pid());
    assert!(refused(data.path()).contains(&holder));
    // Reading is no harm.
    let (code, _, err) = run(&["backup", "--data-dir", folder, "--to", backup]);
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = run(&[
        "export",
        "--data-dir",
        folder,
        "--restaurant",
        "demo",
        "--to",
        lines,
    ]);
    assert_eq!(code, 0, "{err}");
    let (code, out, _) = run(&["check", "--dev", "--data-dir", folder]);
    assert_eq!(code, 0);
    assert!(
        out.contains(&format!("in use by process {}", relay.pid())),
        "{out}"
    );
    for command in [
        ["restore", "--data-dir", folder, "--from", backup, "--force"],
        ["import", "--data-dir", folder, "--from", lines, "--replace"],
    ] {
        let (code, _, err) = run(&command);
        assert_eq!(code, 1);
        assert!(err.contains(&holder), "{err}");
    }
    assert_eq!(relay.http().await.get("/readyz", "").await.status, 200);
}

#[tokio::test]
async fn a_foreign_lock_on_the_database_makes_writes_wait_or_refuses_them() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &FAST);
    let token = relay.token("service").await;
    let base = position(&relay, &token).await;
    let load = Load::start(&relay, &token, "l", 4, || 0).await;
    load.until_acked(50).await;
    let foreign = Connection::open(database(data.path())).unwrap();
    foreign
        .execute_batch(
            "PRAGMA busy_timeout = 20000; BEGIN IMMEDIATE; UPDATE meta SET value = value",
        )
        .unwrap();
    let refused = load.refused();
    until("refusals", || load.refused() > refused + 8).await;
    assert_eq!(relay.http().await.get(ORDERS, &token).await.status, 200);
    let acked = load.acked();
    foreign.execute_batch("COMMIT").unwrap();
    load.until_acked(acked + 50).await;
    relay.kill();
    let witness = load.witness().await;
    for error in &witness.refused {
        assert_eq!(
            (&error["code"], &error["outcome"]),
            (&json!("unavailable"), &json!("not_applied")),
            "{error}"
        );
    }
    let relay = Relay::start(data.path(), &FAST);
    let found = audit(&relay, &token, &base, &witness, u64::MAX).await;
    assert!(found.holds(), "{found:?}");
    figure(
        "Database locked by another program: commands refused, none of them applied",
        witness.refused.len(),
    );
}

#[tokio::test]
async fn damage_is_found_at_the_start_and_a_backup_mends_it() {
    let data = tempfile::tempdir().unwrap();
    filled(data.path()).await;
    let folder = data.path().to_str().unwrap().to_owned();
    let out = tempfile::tempdir().unwrap();
    let backup = out.path().join("b.db");
    let (code, _, err) = run(&[
        "backup",
        "--data-dir",
        &folder,
        "--to",
        backup.to_str().unwrap(),
    ]);
    assert_eq!(code, 0, "{err}");
    // All of it into the database, so that there are pages to damage; not closed cleanly all the same.
    let db = Connection::open(database(data.path())).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    drop(db);
    let whole = std::fs::read(database(data.path())).unwrap();
    let pages = whole.len() / 4096;
    assert!(pages > 20, "{pages}");
    let harm = |places: &[usize]| {
        let mut bytes = whole.clone();
        for &place in places {
            bytes[place..place + 32]
                .iter_mut()
                .for_each(|byte| *byte ^= 0xff);
        }
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{folder}/tautline.db{suffix}"));
        }
        std::fs::write(database(data.path()), bytes).unwrap();
    };
    let middle: Vec<usize> = (pages / 4..pages * 3 / 4).map(|page| page * 4096).collect();
    for (what, places) in [
        ("header", &[0][..]),
        ("schema", &[100]),
        ("middle", &middle),
    ] {
        harm(places);
        let said = refused(data.path());
        assert!(
            said.contains("damaged") && said.contains("tautline-relay restore --force"),
            "{what}: {said}"
        );
        let (code, _, _) = run(&["check", "--dev", "--data-dir", &folder]);
        assert_eq!(code, 1, "{what}");
        let kept = out.path().join("kept.db");
        let (code, _, err) = run(&[
            "backup",
            "--data-dir",
            &folder,
            "--to",
            kept.to_str().unwrap(),
        ]);
        assert_eq!(code, 1, "{what}: {err}");
        assert!(!kept.exists(), "no backup of a damaged store");
    }
    let (code, said, err) = run(&[
        "restore",
        "--data-dir",
        &folder,
        "--from",
        backup.to_str().unwrap(),
        "--force",
    ]);
    assert_eq!(code, 0, "{err}");
    assert!(said.contains("new epoch"), "{said}");
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("manager").await;
    assert!(
        !relay.http().await.get(ORDERS, &token).await.json()["orders"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    sound(data.path());
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let data = tempfile::tempdir().unwrap();
    filled(data.path()).await;
    let db = Connection::open(database(data.path())).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let before = std::fs::read(database(data.path())).unwrap();
    let said = refused(data.path());
    assert!(
        said.contains("newer relay") && said.contains("run that version"),
        "{said}"
    );
    assert_eq!(std::fs::read(database(data.path())).unwrap(), before);
}

#[tokio::test]
async fn a_copy_from_earlier_is_noticed_by_a_screen_that_is_ahead_of_it() {
    let data = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let mut relay = Relay::start(data.path(), &[]);
    let (staff, customer) = (relay.token("kitchen").await, relay.token("customer").await);
    let service = relay.token("service").await;
    let mut http = relay.http().await;
    for table in ["1", "2"] {
        assert_eq!(
            http.post(ORDERS, &service, &burger(table)).await.status,
            201
        );
    }
    relay.signal(Signal::TERM);
    relay.ended().await;
    let earlier = copy.path().join("tautline.db");
    std::fs::copy(database(data.path()), &earlier).unwrap();
    let relay = Relay::start(data.path(), &[]);
    let mut http = relay.http().await;
    for table in ["3", "4", "5"] {
        assert_eq!(
            http.post(ORDERS, &service, &burger(table)).await.status,
            201
        );
    }
    let (_, ahead) = Client::v1(&relay, &staff, json!({"sync":true})).await;
    assert_eq!(ahead["seq"], 5);
    relay.kill();
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(data.path().join(format!("tautline.db{suffix}")));
    }
    std::fs::copy(&earlier, database(data.path())).unwrap();

    let log = data.path().join("log");
    let mut command = command();
    command.stderr(std::fs::File::create(&log).unwrap());
    let relay = Relay::spawn(command, data.path(), &[]);
    let resume = json!({"resume":{"epoch":ahead["epoch"],"seq":ahead["seq"]},"sync":true});
    // Anybody may say so; a new epoch costs everyone a snapshot, so only staff is believed.
    let (_, bare) = Client::v1(&relay, &customer, resume.clone()).await;
    assert_eq!(
        (&bare["resumed"], &bare["epoch"], &bare["seq"]),
        (&json!(false), &ahead["epoch"], &json!(2))
    );
    assert_eq!(relay.metric("tautline_epochs_total").await, 0.0);
    let (mut other, _) = Client::v1(&relay, &staff, json!({})).await;
    let (mut screen, anew) = Client::v1(&relay, &staff, resume).await;
    assert_eq!(anew["resumed"], false);
    assert_ne!(anew["epoch"], ahead["epoch"]);
    let snapshot = screen.until("sync_complete").await;
    assert_eq!(
        (
            &snapshot["payload"]["status"],
            &snapshot["payload"]["epoch"]
        ),
        (&json!("snapshot"), &anew["epoch"]),
        "{snapshot}"
    );
    // Who was connected all the while is told too.
    let told = other.until("reset").await;
    assert_eq!(told["epoch"], anew["epoch"], "{told}");
    assert_eq!(relay.metric("tautline_epochs_total").await, 1.0);
    assert!(
        std::fs::read_to_string(&log)
            .unwrap()
            .contains("a client holds events this store does not")
    );
    // The new name is for good.
    relay.kill();
    let relay = Relay::start(data.path(), &[]);
    assert_eq!(
        position(&relay, &staff).await.epoch,
        anew["epoch"].as_str().unwrap()
    );
}
