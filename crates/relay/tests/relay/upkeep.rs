use crate::support::*;

#[test]
fn each_command_explains_itself() {
    for (command, words) in [
        ("backup", ["--to", "--data-dir"]),
        ("restore", ["--force", "--from"]),
        ("export", ["--restaurant", "--to"]),
        ("import", ["--replace", "--from"]),
        ("check", ["--config", "--durability"]),
    ] {
        let (code, out, _) = run(&[command, "--help"]);
        assert_eq!(code, 0);
        assert!(words.iter().all(|word| out.contains(word)), "{out}");
    }
}

#[test]
fn what_is_wrong_is_one_sentence_and_a_code() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    let file = data.path().join("file");
    let file = file.to_str().unwrap();
    for (args, code, part) in [
        (&["backup", "--data-dir", folder][..], 2, "--to"),
        (
            &["backup", "--data-dir", folder, "--to", file],
            1,
            "there is no store in",
        ),
        (
            &["backup", "--data-dir", ":memory:", "--to", file],
            2,
            "inside a running relay",
        ),
        (
            &["restore", "--data-dir", folder, "--from", file],
            1,
            "no such file",
        ),
        (
            &["export", "--data-dir", folder, "--restaurant", "a b"],
            2,
            "not a restaurant id",
        ),
        (
            &["export", "--data-dir", folder, "--restaurant", "grow"],
            1,
            "there is no store in",
        ),
        (
            &["import", "--data-dir", folder, "--from", file],
            1,
            "No such file",
        ),
        (
            &["check", "--dev", "--data-dir", folder],
            1,
            "there is no store in",
        ),
        (
            &["check", "--dev", "--max-message", "1"],
            1,
            "the configuration is wrong: --max-message 1",
        ),
    ] {
        let (is, _, err) = run(args);
        assert_eq!(is, code, "{args:?}: {err}");
        assert!(err.contains(part), "{args:?}: {err}");
        assert!(code == 2 || err.trim().lines().count() == 1, "{err}");
    }
    assert!(!data.path().join("lock").exists(), "nothing was made");
}

#[tokio::test]
async fn check_looks_at_configuration_and_store_and_makes_neither() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let token = relay.token("service").await;
    relay.http().await.post(ORDERS, &token, &burger("1")).await;
    relay.kill();
    let (code, out, err) = run(&["check", "--dev", "--data-dir", folder]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(
        out,
        "configuration: sound\nstore: schema 2, 1 restaurants, 1 events, 1 live orders, 0 past orders, 0 commands remembered\nstore: sound\n"
    );
    // Without a key `serve` would not start; the store is looked at all the same.
    let (code, out, err) = run(&["check", "--data-dir", folder]);
    assert_eq!(code, 1);
    assert!(out.contains("store: sound"), "{out}");
    assert!(err.contains("the configuration is wrong"), "{err}");
    let db = rusqlite::Connection::open(data.path().join("tautline.db")).unwrap();
    db.execute("UPDATE live_order SET body = '{}'", []).unwrap();
    drop(db);
    let (code, out, err) = run(&["check", "--dev", "--data-dir", folder]);
    assert_eq!(code, 1);
    assert!(
        out.contains("store: PROBLEM: restaurant demo: the live order"),
        "{out}"
    );
    assert!(err.contains("has problems"), "{err}");
}

#[tokio::test]
async fn an_export_is_moved_to_another_relay_and_a_command_repeated_there_is_applied_once() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let relay = Relay::start(old.path(), &[]);
    let token = relay.token("service").await;
    let key = [("idempotency-key", "k-1")];
    let made = relay
        .http()
        .await
        .send("POST", ORDERS, &token, &key, &burger("7"))
        .await
        .unwrap();
    assert_eq!(made.status, 201);
    // To standard output, beside the running relay.
    let folder = old.path().to_str().unwrap();
    let (code, lines, err) = run(&["export", "--data-dir", folder, "--restaurant", "demo"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(lines.lines().count(), 4, "{lines}");
    let file = new.path().join("demo.jsonl");
    std::fs::write(&file, lines).unwrap();
    let data = new.path().join("data");
    let (code, out, err) = run(&[
        "import",
        "--from",
        file.to_str().unwrap(),
        "--data-dir",
        data.to_str().unwrap(),
    ]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("restaurant demo, 1 live orders"), "{out}");
    let relay = Relay::start(&data, &[]);
    let token = relay.token("service").await;
    let again = relay
        .http()
        .await
        .send("POST", ORDERS, &token, &key, &burger("7"))
        .await
        .unwrap();
    assert_eq!((again.status, again.body), (201, made.body));
    let list = relay.http().await.get(ORDERS, &token).await.json();
    assert_eq!(list["orders"].as_array().unwrap().len(), 1);
    // It counts on from where it was.
    let next = relay.http().await.post(ORDERS, &token, &burger("8")).await;
    assert_eq!(next.json()["order_number"], "002", "{next:?}");
}
