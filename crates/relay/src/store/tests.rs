//! The boundary, on real files.

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tautline_machine::relay::{About, Ack, Dedupe, OrderRow};
use tautline_protocol::limits;
use tautline_protocol::order::Order;

type Reports = async_mpsc::UnboundedReceiver<Report>;

fn open(folder: &Path) -> (Store, Running, Reports) {
    Store::open(
        &DataDir::Folder(folder.into()),
        Durability::Full,
        Keep::usual(Duration::from_secs(3600)),
    )
    .unwrap()
}

fn rid() -> Arc<str> {
    "grow".into()
}

fn record(ticket: u64, seq: Seq, frame: &str) -> Arc<Record> {
    let order = Order::from_stored(&format!(
        r#"{{"id":"o{seq}","status":"new","customer_phone":"555"}}"#
    ))
    .unwrap();
    Arc::new(Record {
        ticket: Ticket(ticket),
        event: Some(Arc::new(Event::new(
            seq,
            "order:created".into(),
            7,
            About::Nothing,
            frame.into(),
        ))),
        epoch: None,
        orders: vec![OrderRow {
            id: format!("o{seq}"),
            order: Some(Arc::new(order)),
            changed_ms: 7,
        }],
        dedupe: Some(Dedupe {
            sub: "cook".into(),
            id: format!("c{seq}"),
            hash: u128::MAX - u128::from(seq),
            ack: Arc::new(Ack {
                at: Some((Epoch::new("e1"), seq)),
                result: Some("{}".into()),
            }),
            at_ms: 1_000_000_000_000,
        }),
        forgotten: Vec::new(),
        bytes: frame.len(),
    })
}

async fn load(store: &Store) -> Stored {
    store
        .load(rid(), Epoch::new("e1"), 1_000_000_000_001)
        .await
        .unwrap()
}

async fn committed(reports: &mut Reports, upto: u64) {
    loop {
        match tokio::time::timeout(Duration::from_secs(20), reports.recv())
            .await
            .unwrap()
            .unwrap()
        {
            Report::Committed(all) if all == [(rid(), Ticket(upto))] => return,
            Report::Committed(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_was_appended_is_there_after_a_new_start() {
    let folder = tempfile::tempdir().unwrap();
    let (store, running, mut reports) = open(folder.path());
    assert_eq!(load(&store).await.head, 0);
    store.append(rid(), vec![record(1, 1, "one"), record(2, 2, "two")]);
    store.append(rid(), vec![record(3, 3, "three")]);
    committed(&mut reports, 3).await;
    running.close();
    let (store, running, mut reports) = open(folder.path());
    let stored = store
        .load(rid(), Epoch::new("other"), 1_000_000_000_001)
        .await
        .unwrap();
    assert_eq!(
        (stored.epoch, stored.head),
        (Some(Epoch::new("e1")), 3),
        "the first epoch stays"
    );
    assert_eq!(
        stored
            .tail
            .iter()
            .map(|event| &**event.stored())
            .collect::<Vec<_>>(),
        ["one", "two", "three"]
    );
    assert_eq!(stored.sizes, [3, 3, 5]);
    assert_eq!(stored.orders.len(), 3);
    assert_eq!(stored.orders[0].0.customer_phone.as_deref(), Some("555"));
    assert_eq!(
        stored
            .dedupe
            .iter()
            .map(|row| row.id.as_str())
            .collect::<Vec<_>>(),
        ["c1", "c2", "c3"]
    );
    assert_eq!(stored.dedupe[2].hash, u128::MAX - 3);
    assert_eq!(stored.dedupe[2].ack.at, Some((Epoch::new("e1"), 3)));
    // An order that leaves, a command that is forgotten, a new history.
    let mut last = Arc::try_unwrap(record(4, 4, "four")).unwrap();
    last.orders[0] = OrderRow {
        id: "o1".into(),
        order: None,
        changed_ms: 8,
    };
    last.forgotten = vec![("cook".into(), "c1".into())];
    let again = Record {
        ticket: Ticket(5),
        event: None,
        epoch: Some(Epoch::new("e2")),
        orders: vec![],
        dedupe: None,
        forgotten: vec![],
        bytes: 0,
    };
    store.append(rid(), vec![Arc::new(last), Arc::new(again)]);
    committed(&mut reports, 5).await;
    let stored = load(&store).await;
    assert_eq!(
        (stored.epoch, stored.head, stored.tail.len()),
        (Some(Epoch::new("e2")), 4, 0)
    );
    assert_eq!(
        stored
            .orders
            .iter()
            .map(|(order, _)| order.id.as_str())
            .collect::<Vec<_>>(),
        ["o2", "o3"]
    );
    assert_eq!(
        stored
            .dedupe
            .iter()
            .map(|row| row.id.as_str())
            .collect::<Vec<_>>(),
        ["c2", "c3", "c4"]
    );
    running.close();
}

#[tokio::test]
async fn stretches_end_at_their_bounds_and_say_what_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (store, running, mut reports) = open(folder.path());
    load(&store).await;
    let frame = "x".repeat(100);
    let most = limits::TAIL_EVENTS as u64 + 600;
    for first in (1..=most).step_by(200) {
        store.append(
            rid(),
            (first..first + 200)
                .map(|seq| record(seq, seq, &frame))
                .collect(),
        );
    }
    committed(&mut reports, most).await;
    let seqs = |stretch: &Stretch| {
        stretch
            .events
            .iter()
            .map(|event| event.seq)
            .collect::<Vec<_>>()
    };
    let stretch = store.stretch(rid(), most - 5, 3, usize::MAX).await.unwrap();
    assert_eq!(
        (seqs(&stretch), stretch.head),
        (vec![most - 4, most - 3, most - 2], most)
    );
    let stretch = store.stretch(rid(), most - 5, 10, 250).await.unwrap();
    assert_eq!(stretch.events.len(), 2, "by bytes");
    let stretch = store.stretch(rid(), most - 5, 10, 1).await.unwrap();
    assert_eq!(stretch.events.len(), 1, "at least one");
    let stretch = store.stretch(rid(), 0, 10, usize::MAX).await.unwrap();
    assert!(
        stretch.events.is_empty() && stretch.oldest > 1,
        "trimmed: {}",
        stretch.oldest
    );
    assert!(
        most + 1 - stretch.oldest >= limits::TAIL_EVENTS as u64,
        "not more than the tail allows"
    );
    assert!(
        store
            .stretch("nobody".into(), 0, 1, 1)
            .await
            .unwrap()
            .epoch
            .is_none()
    );
    let stored = load(&store).await;
    assert_eq!(
        (stored.sizes.len(), stored.head),
        (limits::TAIL_EVENTS, most)
    );
    assert!(stored.tail.len() * 100 <= limits::TAIL_MEMORY_BYTES);
    running.close();
}

#[tokio::test]
async fn no_more_is_kept_for_those_who_resume_than_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let keep = Keep {
        events: 100,
        ..Keep::usual(Duration::from_secs(3600))
    };
    let data = DataDir::Folder(folder.path().into());
    let (store, running, mut reports) = Store::open(&data, Durability::Full, keep).unwrap();
    load(&store).await;
    for seq in 1..=500 {
        store.append(rid(), vec![record(seq, seq, "one")]);
    }
    committed(&mut reports, 500).await;
    let stretch = store.stretch(rid(), 0, 1, usize::MAX).await.unwrap();
    let kept = stretch.head + 1 - stretch.oldest;
    assert!((100..=200).contains(&kept), "{kept}");
    running.close();
}

#[tokio::test]
async fn the_tail_is_bounded_in_bytes_too() {
    let folder = tempfile::tempdir().unwrap();
    let (store, running, mut reports) = open(folder.path());
    load(&store).await;
    let frame = "x".repeat(1024 * 1024);
    for seq in 1..=80 {
        store.append(rid(), vec![record(seq, seq, &frame)]);
    }
    committed(&mut reports, 80).await;
    let oldest = store.stretch(rid(), 0, 1, 1).await.unwrap().oldest;
    assert!((80 - 64..=80 - 60).contains(&oldest), "{oldest}");
    let wal = std::fs::metadata(folder.path().join("tautline.db-wal"))
        .unwrap()
        .len();
    assert!(
        wal < 8 * 1024 * 1024,
        "checkpoints keep the WAL small: {wal}"
    );
    running.close();
}

#[tokio::test]
async fn without_room_nothing_holds_until_there_is_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let connection =
        schema::open_file(&folder.path().join("tautline.db"), Durability::Full).unwrap();
    connection
        .pragma_update(None, "max_page_count", 200)
        .unwrap();
    let (reports, mut reports_in) = async_mpsc::unbounded_channel();
    let (jobs, jobs_in) = mpsc::channel();
    let writer = writer::Writer::new(
        connection,
        true,
        reports,
        Keep::usual(Duration::from_secs(3600)),
    )
    .unwrap();
    let thread = std::thread::spawn(move || writer.run(&jobs_in));
    let store = Store {
        jobs: jobs.clone(),
        reads: None,
        generation: Arc::new(AtomicU64::new(0)),
    };
    load(&store).await;
    store.append(rid(), vec![record(1, 1, "fits")]);
    committed(&mut reports_in, 1).await;
    store.append(rid(), vec![record(2, 2, &"x".repeat(900_000))]);
    assert!(matches!(
        reports_in.recv().await,
        Some(Report::Failed { full: true })
    ));
    // Judged before the news: it rests on what is not there.
    store.append(rid(), vec![record(3, 3, "void")]);
    assert!(
        matches!(reports_in.recv().await, Some(Report::Recovered)),
        "a smaller write fits"
    );
    store.restart();
    store.append(rid(), vec![record(4, 2, "fits too")]);
    committed(&mut reports_in, 4).await;
    let stored = load(&store).await;
    assert_eq!(
        stored
            .tail
            .iter()
            .map(|event| &**event.stored())
            .collect::<Vec<_>>(),
        ["fits", "fits too"]
    );
    jobs.send(Job::Close).unwrap();
    thread.join().unwrap();
}

#[test]
fn files_are_ours_alone_and_a_newer_schema_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (_, running, _) = open(folder.path());
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.path());
    }
    running.close();
    let db = rusqlite::Connection::open(folder.path().join("tautline.db")).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let error = Store::open(
        &DataDir::Folder(folder.path().into()),
        Durability::Full,
        Keep::usual(Duration::from_secs(3600)),
    )
    .unwrap_err();
    assert!(error.message.contains("newer relay"), "{error}");
}

#[tokio::test]
async fn a_machine_that_went_down_without_full_durability_begins_new_epochs() {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::Folder(folder.path().into());
    let (store, running, mut reports) = Store::open(
        &dir,
        Durability::Normal,
        Keep::usual(Duration::from_secs(3600)),
    )
    .unwrap();
    load(&store).await;
    store.append(rid(), vec![record(1, 1, "one")]);
    committed(&mut reports, 1).await;
    running.close();
    // As the files are after a power cut: not closed, and the machine has booted since.
    let db = rusqlite::Connection::open(folder.path().join("tautline.db")).unwrap();
    db.execute_batch("UPDATE meta SET value = 0 WHERE name = 'clean'; UPDATE meta SET value = 'before' WHERE name = 'boot'").unwrap();
    drop(db);
    let (store, running, _reports) = open(folder.path());
    let stored = load(&store).await;
    assert_ne!(stored.epoch, Some(Epoch::new("e1")));
    assert_eq!((stored.head, stored.orders.len()), (1, 1));
    running.close();
}
