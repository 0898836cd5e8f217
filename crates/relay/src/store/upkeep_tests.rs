//! Old schemas, histories, copies out and in.

use super::*;
use rusqlite::Connection;
use std::path::Path;
use tautline_machine::relay::OrderRow;
use tautline_protocol::order::Order;

const SCHEMA_1: &str = include_str!("../../tests/fixtures/schema-1.sql");
/// When the fixture's orders were made.
const THEN: u64 = 1_795_453_734_056;

fn old_store(folder: &Path) {
    let db = Connection::open(folder.join(DATABASE)).unwrap();
    db.pragma_update(None, "journal_mode", "wal").unwrap();
    db.execute_batch(SCHEMA_1).unwrap();
}

fn open(folder: &Path) -> (Store, Running) {
    let (store, running, _) = Store::open(
        &DataDir::Folder(folder.into()),
        Durability::Full,
        Duration::from_secs(3600),
    )
    .unwrap();
    (store, running)
}

fn start_and_stop(folder: &Path) {
    open(folder).1.close();
}

fn number(folder: &Path, sql: &str) -> i64 {
    let db = schema::open_reader(&folder.join(DATABASE)).unwrap();
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn epoch(folder: &Path, restaurant: &str) -> String {
    let db = schema::open_reader(&folder.join(DATABASE)).unwrap();
    db.query_row(
        "SELECT epoch FROM restaurant WHERE id = ?1",
        [restaurant],
        |row| row.get(0),
    )
    .unwrap()
}

#[tokio::test]
async fn a_store_of_schema_1_comes_up_whole_and_a_copy_of_it_stays() {
    let folder = tempfile::tempdir().unwrap();
    old_store(folder.path());
    // A relay that was interrupted in the middle of its copy.
    std::fs::write(
        folder.path().join("tautline.schema-1.db.partial"),
        "half a copy",
    )
    .unwrap();
    let (store, running) = open(folder.path());
    let stored = store
        .load("grow".into(), Epoch::new("other"), THEN + 1)
        .await
        .unwrap();
    assert_eq!(
        (stored.epoch, stored.head),
        (Some(Epoch::new("0a1b2c3d4e5f60718293a4b5c6")), 3)
    );
    assert_eq!((stored.tail.len(), stored.sizes.len()), (3, 3));
    assert_eq!(stored.orders.len(), 3);
    assert_eq!(
        stored.orders[2].0.customer_phone.as_deref(),
        Some("555-0103")
    );
    assert_eq!(stored.dedupe.len(), 3);
    assert_eq!(
        stored.dedupe[0].hash,
        0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10
    );
    assert!(
        store
            .past_orders("grow".into(), PastFrom::default(), 10)
            .await
            .unwrap()
            .is_empty()
    );
    running.close();
    assert_eq!(number(folder.path(), "PRAGMA user_version"), 2);
    assert_eq!(
        number(
            folder.path(),
            "SELECT count(*) FROM event WHERE about IS NULL"
        ),
        4
    );
    let found = check(folder.path()).unwrap();
    assert_eq!(found.problems, [""; 0]);
    // The copy is a store of schema 1, sound, alone, and ours.
    let copy = folder.path().join("tautline.schema-1.db");
    let found = check::inspect_file(&copy).unwrap();
    assert_eq!(
        (found.schema, found.events, found.live, found.problems.len()),
        (1, 4, 4, 0)
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(&copy.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(!folder.path().join("tautline.schema-1.db.partial").exists());
    // And it can be put back.
    let back = tempfile::tempdir().unwrap();
    restore(&copy, back.path(), false).unwrap();
    start_and_stop(back.path());
    assert_eq!(number(back.path(), "SELECT count(*) FROM live_order"), 4);
}

#[test]
fn a_step_that_was_interrupted_is_taken_again() {
    let folder = tempfile::tempdir().unwrap();
    old_store(folder.path());
    // The copy was made, the step was not.
    let db = Connection::open(folder.path().join(DATABASE)).unwrap();
    let copy = folder.path().join("tautline.schema-1.db");
    db.execute("VACUUM INTO ?1", [copy.to_string_lossy()])
        .unwrap();
    drop(db);
    start_and_stop(folder.path());
    assert_eq!(number(folder.path(), "PRAGMA user_version"), 2);
}

#[test]
fn schema_1_is_backed_up_and_exported_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    old_store(folder.path());
    let out = tempfile::tempdir().unwrap();
    let found = backup(folder.path(), &out.path().join("b.db")).unwrap();
    assert_eq!((found.schema, found.events), (1, 4));
    let counts = export(folder.path(), "grow", Some(&out.path().join("e"))).unwrap();
    assert_eq!((counts.orders, counts.commands), (3, 3));
    assert_eq!(number(folder.path(), "PRAGMA user_version"), 1);
}

fn leaves(ticket: u64, id: &str, at: u64) -> Arc<Record> {
    Arc::new(Record {
        ticket: Ticket(ticket),
        event: None,
        epoch: None,
        orders: vec![OrderRow {
            id: id.into(),
            order: None,
            changed_ms: at,
        }],
        dedupe: None,
        forgotten: vec![],
        bytes: 1,
    })
}

fn comes(ticket: u64, id: &str) -> Arc<Record> {
    let order = Order::from_stored(&format!(r#"{{"id":"{id}","status":"new"}}"#)).unwrap();
    Arc::new(Record {
        ticket: Ticket(ticket),
        event: None,
        epoch: None,
        orders: vec![OrderRow {
            id: id.into(),
            order: Some(Arc::new(order)),
            changed_ms: 1,
        }],
        dedupe: None,
        forgotten: vec![],
        bytes: 1,
    })
}

async fn ids(store: &Store, from: PastFrom, most: usize) -> Vec<String> {
    store
        .past_orders("grow".into(), from, most)
        .await
        .unwrap()
        .into_iter()
        .map(|past| past.order.id)
        .collect()
}

async fn until(reports: &mut async_mpsc::UnboundedReceiver<Report>, ticket: u64) {
    loop {
        match tokio::time::timeout(Duration::from_secs(20), reports.recv())
            .await
            .unwrap()
            .unwrap()
        {
            Report::Committed(all) if all.iter().any(|(_, upto)| *upto >= Ticket(ticket)) => return,
            Report::Committed(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn orders_that_leave_are_kept_in_order_until_their_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    old_store(folder.path());
    let history = Duration::from_secs(3600);
    let (store, running, mut reports) = Store::open(
        &DataDir::Folder(folder.path().into()),
        Durability::Full,
        history,
    )
    .unwrap();
    let now = crate::clock::wall_ms();
    store.append(
        "grow".into(),
        vec![
            leaves(1, "grow-2", now),
            leaves(2, "grow-1", now),
            // Long ago, as after a month.
            leaves(3, "grow-3", 5),
        ],
    );
    until(&mut reports, 3).await;
    let past = store
        .past_order("grow".into(), "grow-2".into())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(past.left_ms, now);
    assert_eq!(past.order.customer_phone.as_deref(), Some("555-0102"));
    assert!(
        store
            .past_order("bar".into(), "grow-2".into())
            .await
            .unwrap()
            .is_none()
    );
    // In a quiet moment what is too old goes.
    while ids(&store, PastFrom::default(), 10).await.len() > 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        ids(&store, PastFrom::default(), 10).await,
        ["grow-1", "grow-2"]
    );
    assert_eq!(ids(&store, PastFrom::default(), 1).await, ["grow-1"]);
    let after = PastFrom {
        left_ms: now,
        id: "grow-1".into(),
    };
    assert_eq!(ids(&store, after, 10).await, ["grow-2"]);
    // Back in the live set it is no longer past; leaving again it is, once.
    store.append("grow".into(), vec![comes(4, "grow-1")]);
    until(&mut reports, 4).await;
    assert_eq!(ids(&store, PastFrom::default(), 10).await, ["grow-2"]);
    store.append("grow".into(), vec![leaves(5, "grow-1", now + 1)]);
    until(&mut reports, 5).await;
    assert_eq!(
        ids(&store, PastFrom::default(), 10).await,
        ["grow-2", "grow-1"]
    );
    running.close();
}

#[tokio::test]
async fn where_somebody_always_writes_what_is_too_old_goes_too() {
    let folder = tempfile::tempdir().unwrap();
    old_store(folder.path());
    let history = Duration::from_millis(50);
    let data = DataDir::Folder(folder.path().into());
    let (store, running, mut reports) = Store::open(&data, Durability::Full, history).unwrap();
    store.append("grow".into(), vec![leaves(1, "grow-3", 5)]);
    until(&mut reports, 1).await;
    assert_eq!(ids(&store, PastFrom::default(), 10).await, ["grow-3"]);
    // Never quiet for as long as a quiet moment takes.
    let began = std::time::Instant::now();
    for seq in 2.. {
        store.append("grow".into(), vec![comes(seq, "grow-1")]);
        until(&mut reports, seq).await;
        if ids(&store, PastFrom::default(), 10).await.is_empty() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it stays");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.close();
}

#[test]
fn a_backup_goes_back_in_under_new_epochs() {
    let folder = tempfile::tempdir().unwrap();
    old_store(folder.path());
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("b.db");
    // Beside a running relay, whose last words are in the write-ahead log.
    let (_, running) = open(folder.path());
    let found = backup(folder.path(), &file).unwrap();
    assert_eq!((found.restaurants, found.events, found.live), (2, 4, 4));
    assert_eq!(
        check(folder.path()).unwrap().holder.as_deref(),
        Some(std::process::id().to_string().as_str())
    );
    let refused = restore(&file, folder.path(), true).unwrap_err();
    assert!(
        refused.message.contains("in use by another relay"),
        "{refused}"
    );
    running.close();
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 1);
    let into_itself = backup(folder.path(), &folder.path().join("tautline.db")).unwrap_err();
    assert_eq!(into_itself.status, 2);
    let refused = restore(&file, folder.path(), false).unwrap_err();
    assert!(refused.message.contains("--force"), "{refused}");
    let old = epoch(folder.path(), "grow");
    // Something the backup does not have, which --force keeps aside.
    let db = Connection::open(folder.path().join(DATABASE)).unwrap();
    db.execute("DELETE FROM live_order", []).unwrap();
    drop(db);
    restore(&file, folder.path(), true).unwrap();
    assert_eq!(number(folder.path(), "SELECT count(*) FROM live_order"), 4);
    assert_eq!(number(folder.path(), "SELECT count(*) FROM event"), 0);
    assert_eq!(
        number(
            folder.path(),
            "SELECT head FROM restaurant WHERE id = 'grow'"
        ),
        3
    );
    let replaced = folder.path().join("tautline.replaced.db");
    assert_eq!(check::inspect_file(&replaced).unwrap().live, 0);
    let first = epoch(folder.path(), "grow");
    assert_ne!(first, old);
    assert_ne!(first, epoch(folder.path(), "bar"));
    restore(&file, folder.path(), true).unwrap();
    assert_ne!(epoch(folder.path(), "grow"), first, "another one each time");
    start_and_stop(folder.path());
    assert_eq!(check(folder.path()).unwrap().problems, [""; 0]);
}

#[test]
fn an_interrupted_restore_is_finished_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    old_store(folder.path());
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("b.db");
    backup(folder.path(), &file).unwrap();
    // As after a kill between the two: the old one with its log, the new one beside it.
    std::fs::copy(&file, folder.path().join("tautline.restored.db")).unwrap();
    std::fs::write(folder.path().join("tautline.db-wal"), "the old one's").unwrap();
    let waits = check(folder.path()).unwrap_err();
    assert!(waits.message.contains("interrupted"), "{waits}");
    assert!(backup(folder.path(), &file).is_err());
    assert!(export(folder.path(), "grow", None).is_err());
    start_and_stop(folder.path());
    assert_eq!(check(folder.path()).unwrap().problems, [""; 0]);
    assert_eq!(
        std::fs::read(folder.path().join("tautline.replaced.db-wal")).unwrap(),
        b"the old one's"
    );
}

#[test]
fn what_is_not_a_sound_store_is_not_restored() {
    let out = tempfile::tempdir().unwrap();
    let target = out.path().join("data");
    let refused = |file: &Path, part: &str| {
        let error = restore(file, &target, true).unwrap_err();
        assert!(error.message.contains(part), "{part}: {error}");
        assert!(
            !target.exists(),
            "nothing is made for a file that is no good"
        );
    };
    let file = out.path().join("f");
    refused(&file, "no such file");
    std::fs::write(&file, "").unwrap();
    refused(&file, "not a store");
    std::fs::write(&file, vec![7; 8192]).unwrap();
    refused(&file, "damaged");
    let source = tempfile::tempdir().unwrap();
    old_store(source.path());
    let db = Connection::open(source.path().join(DATABASE)).unwrap();
    db.execute("DELETE FROM event WHERE position = (1 << 40) + 2", [])
        .unwrap();
    let unsound = backup(source.path(), &file).unwrap_err();
    assert!(
        unsound.message.contains("no event between 1 and 3"),
        "{unsound}"
    );
    assert_eq!(
        std::fs::read(&file).unwrap(),
        [7; 8192],
        "what was there stays"
    );
    refused(&source.path().join(DATABASE), "no event between 1 and 3");
    db.pragma_update(None, "user_version", 99).unwrap();
    refused(&source.path().join(DATABASE), "newer relay");
}

#[test]
fn check_says_each_thing_that_is_wrong() {
    for (harm, said) in [
        (
            "DELETE FROM event WHERE position = (1 << 40) + 3",
            "the last event is 2, the head 3",
        ),
        (
            "UPDATE event SET size = 1 WHERE position = (1 << 40) + 3",
            "event 3 has another size",
        ),
        (
            "UPDATE event SET kind = 'order:deleted' WHERE position = (1 << 40) + 3",
            "event 3 is not what its place says",
        ),
        (
            "UPDATE restaurant SET epoch = 'other' WHERE id = 'bar'",
            "restaurant bar: event 1 is not",
        ),
        (
            "DELETE FROM restaurant WHERE id = 'bar'",
            "is of no restaurant (key 2)",
        ),
        (
            "UPDATE live_order SET body = '{}' WHERE id = 'grow-1'",
            "the live order grow-1 cannot be read",
        ),
        (
            "UPDATE live_order SET body = replace(body, 'grow-1', 'grow-9') WHERE id = 'grow-1'",
            "the live order grow-1 says it is grow-9",
        ),
        (
            "UPDATE command SET seq = NULL WHERE id = 'k-2'",
            "the command k-2 cannot be read",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        old_store(folder.path());
        start_and_stop(folder.path());
        let db = Connection::open(folder.path().join(DATABASE)).unwrap();
        db.execute(harm, []).unwrap();
        drop(db);
        let problems = check(folder.path()).unwrap().problems;
        assert!(
            problems.iter().any(|problem| problem.contains(said)),
            "{harm}: {problems:?}"
        );
        assert!(
            !problems.iter().any(|problem| problem.contains("555-")),
            "nothing of an order's content is told"
        );
    }
}

#[tokio::test]
async fn a_restaurant_moves_with_its_orders_history_and_memory() {
    let source = tempfile::tempdir().unwrap();
    old_store(source.path());
    let (store, running, mut reports) = Store::open(
        &DataDir::Folder(source.path().into()),
        Durability::Full,
        Duration::from_secs(3600),
    )
    .unwrap();
    store.append(
        "grow".into(),
        vec![leaves(1, "grow-2", crate::clock::wall_ms())],
    );
    until(&mut reports, 1).await;
    let db = Connection::open(source.path().join(DATABASE)).unwrap();
    db.execute(
        "INSERT INTO revocation VALUES ('grow', 'till', 7, 9), ('bar', '', 1, 2)",
        [],
    )
    .unwrap();
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("grow.jsonl");
    let counts = export(source.path(), "grow", Some(&file)).unwrap();
    running.close();
    assert_eq!(
        counts,
        Counts {
            orders: 2,
            past: 1,
            commands: 3,
            revocations: 1
        }
    );
    let unknown = export(source.path(), "nobody", Some(&out.path().join("n"))).unwrap_err();
    assert!(unknown.message.contains("no restaurant nobody"));
    assert!(!out.path().join("n").exists());

    let target = out.path().join("data");
    let imported = import(&file, &target, false).unwrap();
    assert_eq!(
        (imported.restaurant.as_str(), imported.counts),
        ("grow", counts)
    );
    assert_eq!(check(&target).unwrap().problems, [""; 0]);
    let (store, running) = open(&target);
    let stored = store
        .load("grow".into(), Epoch::new("unused"), THEN + 1)
        .await
        .unwrap();
    assert_eq!((stored.head, stored.tail.len()), (3, 0));
    assert_eq!((stored.orders.len(), stored.dedupe.len()), (2, 3));
    assert_ne!(stored.epoch, Some(Epoch::new("0a1b2c3d4e5f60718293a4b5c6")));
    assert_eq!(
        stored.orders[0].0.customer_phone.as_deref(),
        Some("555-0101")
    );
    assert_eq!(ids(&store, PastFrom::default(), 9).await, ["grow-2"]);
    running.close();
    // Twice only when told, and then under another epoch again.
    let first = epoch(&target, "grow");
    let refused = import(&file, &target, false).unwrap_err();
    assert!(refused.message.contains("--replace"), "{refused}");
    import(&file, &target, true).unwrap();
    assert_ne!(epoch(&target, "grow"), first);
    assert_eq!(number(&target, "SELECT count(*) FROM live_order"), 2);
    assert_eq!(number(&target, "SELECT count(*) FROM revocation"), 1);
    // Out again it is the same, but for who it is now.
    let again = out.path().join("again.jsonl");
    export(&target, "grow", Some(&again)).unwrap();
    let body = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        text.split_once('\n').unwrap().1.to_owned()
    };
    assert_eq!(body(&file), body(&again));
}

#[test]
fn a_file_that_is_not_a_whole_export_changes_nothing() {
    let source = tempfile::tempdir().unwrap();
    old_store(source.path());
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("f");
    export(source.path(), "grow", Some(&file)).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let target = out.path().join("data");
    import(&file, &target, false).unwrap();
    let before = epoch(&target, "grow");
    let lines: Vec<&str> = text.lines().collect();
    let without = |gone: usize| {
        let rest: Vec<&str> = lines
            .iter()
            .enumerate()
            .filter(|(n, _)| *n != gone)
            .map(|(_, line)| *line)
            .collect();
        rest.join("\n")
    };
    for (content, part) in [
        (String::new(), "line 1: not the first line"),
        (without(0), "line 1: not the first line"),
        (without(1), "it should have 3 live orders"),
        (without(lines.len() - 1), "ends before its last line"),
        (text[..text.len() / 2].to_owned(), "nothing was imported"),
        (
            text.replace("\"tautline_export\":1", "\"tautline_export\":2"),
            "format 2, this relay reads 1",
        ),
        (
            text.replace("\"restaurant_id\":\"grow\"", "\"restaurant_id\":\"bar\""),
            "is another restaurant's",
        ),
        (
            text.replace("\"status\":\"new\"", "\"status\":\"cold\""),
            "the order cannot be read",
        ),
        (
            text.replace("\"hash\":\"01", "\"hash\":\"x1"),
            "32 hexadecimal digits",
        ),
        (
            text.replace("\"order\":", "\"dish\":"),
            "not a line of an export",
        ),
    ] {
        std::fs::write(&file, content).unwrap();
        let error = import(&file, &target, true).unwrap_err();
        assert!(error.message.contains(part), "{part}: {error}");
        assert!(!error.message.contains("555-"), "{error}");
        assert_eq!(epoch(&target, "grow"), before, "{part}");
        assert_eq!(check(&target).unwrap().problems, [""; 0]);
    }
}
