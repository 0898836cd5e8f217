use crate::support::*;
use std::net::TcpListener;

#[test]
fn what_is_in_the_way_is_one_sentence() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (code, out, err) = run(&[
        "serve",
        "--dev",
        "--data-dir",
        folder,
        "--listen",
        &format!("127.0.0.1:{port}"),
    ]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.contains(&format!("port {port} is already in use by another program")),
        "{err}"
    );
    let (code, _, err) = run(&[
        "serve",
        "--dev",
        "--data-dir",
        folder,
        "--listen",
        "0.0.0.0:0",
    ]);
    assert_eq!(code, 2);
    assert!(err.contains("loopback"), "{err}");
    let (code, _, err) = run(&["serve", "--data-dir", folder]);
    assert_eq!(code, 2);
    assert!(err.contains("exactly one of"), "{err}");
    let short = data.path().join("short");
    std::fs::write(&short, "short").unwrap();
    let (code, _, err) = run(&[
        "serve",
        "--data-dir",
        folder,
        "--jwt-secret-file",
        short.to_str().unwrap(),
    ]);
    assert_eq!(code, 1);
    assert!(err.contains("at least 32"), "{err}");
}

#[tokio::test]
async fn the_environment_is_a_twin_of_the_flags() {
    let www = tempfile::tempdir().unwrap();
    std::fs::write(www.path().join("index.html"), "<!doctype html>").unwrap();
    let relay = Relay::start_by_environment(&[
        ("TAUTLINE_DEV", "1"),
        ("TAUTLINE_LISTEN", "127.0.0.1:0"),
        ("TAUTLINE_DATA_DIR", ":memory:"),
        ("TAUTLINE_WWW", www.path().to_str().unwrap()),
    ]);
    assert_eq!(relay.http().await.get("/", "").await.status, 200);
    relay.token("kitchen").await;
}

#[test]
fn a_second_relay_on_the_same_folder_is_told_whose_it_is() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let (code, _, err) = run(&[
        "serve",
        "--dev",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        data.path().to_str().unwrap(),
    ]);
    assert_eq!(code, 1);
    assert!(err.contains(&format!("process {}", relay.pid())), "{err}");
}

#[test]
fn a_hurried_clock_is_for_tests_only() {
    let data = tempfile::tempdir().unwrap();
    let secret = data.path().join("secret");
    std::fs::write(&secret, "x".repeat(48)).unwrap();
    let secret = secret.to_str().unwrap();
    let (code, _, err) = run(&[
        "serve",
        "--data-dir",
        ":memory:",
        "--jwt-secret-file",
        secret,
        "--pace",
        "60",
    ]);
    assert_eq!(code, 2);
    assert!(err.contains("--pace: with --dev only"), "{err}");
    // Nobody meets it by chance.
    assert!(!run(&["serve", "--help"]).1.contains("--pace"));
    let file = data.path().join("relay.toml");
    std::fs::write(&file, "pace = 60\n").unwrap();
    let (code, _, err) = run(&["serve", "--dev", "--config", file.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(err.contains("not a flag"), "{err}");
}

#[tokio::test]
async fn a_token_from_the_command_line_is_taken() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start(data.path(), &[]);
    let folder = data.path().to_str().unwrap();
    let (code, out, err) = run(&[
        "token",
        "--dev",
        "--data-dir",
        folder,
        "--restaurant",
        "demo",
        "--role",
        "manager",
        "--ttl",
        "1h",
    ]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(relay.http().await.get(ORDERS, out.trim()).await.status, 200);
    assert_eq!(
        run(&[
            "token",
            "--dev",
            "--data-dir",
            folder,
            "--restaurant",
            "*",
            "--role",
            "manager"
        ])
        .0,
        2
    );
    assert_eq!(
        run(&[
            "token",
            "--dev",
            "--data-dir",
            folder,
            "--restaurant",
            "demo",
            "--role",
            "chef"
        ])
        .0,
        2
    );
}

#[test]
fn a_damaged_store_is_not_started() {
    let data = tempfile::tempdir().unwrap();
    Relay::start(data.path(), &[]).kill();
    for file in ["tautline.db-wal", "tautline.db-shm"] {
        let _ = std::fs::remove_file(data.path().join(file));
    }
    std::fs::write(data.path().join("tautline.db"), vec![7; 8192]).unwrap();
    let (code, _, err) = run(&[
        "serve",
        "--dev",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        data.path().to_str().unwrap(),
    ]);
    assert_eq!(code, 1);
    assert!(
        err.contains("damaged") && err.contains("put a copy of its folder back"),
        "{err}"
    );
}

/// What a program that nobody can read from ends with is still its own status.
#[test]
fn a_status_is_told_where_nothing_can_be_written() {
    let data = tempfile::tempdir().unwrap();
    let full = || {
        std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    let status = |args: &[&str]| {
        let mut command = command();
        command.args(args).arg("--data-dir").arg(data.path());
        command.stdout(full()).stderr(full());
        command.status().unwrap().code()
    };
    assert_eq!(
        status(&["serve", "--dev", "--listen", "0.0.0.0:0"]),
        Some(2)
    );
    assert_eq!(status(&["check", "--dev"]), Some(1));
    assert_eq!(
        status(&[
            "token",
            "--dev",
            "--restaurant",
            "demo",
            "--role",
            "kitchen"
        ]),
        Some(1)
    );
}
