//! Rules of this code that clippy cannot see, read off the text of the sources.

use std::fs;
use std::path::{Path, PathBuf};

/// What the comment of an import, or of the type it is a method of, says when it may go without `catch`.
const CANNOT_THROW: &str = "cannot throw";

/// Dependencies point one way: protocol ← machine ← (client, relay, the relay of `tautline/testing`).
const ARROWS: &[(&str, &[&str])] = &[
    ("crates/protocol", &[]),
    ("crates/machine", &["tautline-protocol"]),
    ("crates/relay", &["tautline-protocol", "tautline-machine"]),
    ("crates/testing", &["tautline-protocol", "tautline-machine"]),
    (".", &["tautline-protocol", "tautline-machine"]),
];

/// What runs in a browser besides the client: it is held to the same rules.
const ALSO_IN_BROWSERS: &str = "crates/testing";

/// Where the relay asks the system for the time, how often, and why not its own clock (`docs/decisions/0036-a-day-in-minutes.md`).
const SYSTEMS_CLOCK: &[(&str, usize, &str)] = &[
    ("clock.rs", 7, "it is the relay's own"),
    ("http.rs", 1, "an accept that failed waits for descriptors"),
    ("http/dev.rs", 1, "the answer is on its way"),
    ("http/journal.rs", 1, "how long a request took"),
    (
        "http/operators.rs",
        1,
        "an accept that failed waits for descriptors",
    ),
    ("http/orders.rs", 1, "a commit takes the time it takes"),
    ("http/realtime.rs", 1, "a shutdown waits for what ends"),
    (
        "http/sessions.rs",
        2,
        "looks for answers until our time is over",
    ),
    ("load.rs", 4, "how far behind the work is"),
    ("measures.rs", 1, "when the process began"),
    ("run.rs", 1, "a load balancer's time to notice"),
    (
        "shard.rs",
        2,
        "the millisecond in which events are collected",
    ),
    ("shard/commands.rs", 1, "how long a commit takes"),
    ("shutdown.rs", 2, "the drain"),
    ("store/writer.rs", 3, "how long a commit takes"),
    ("tls.rs", 1, "last words are on their way"),
    ("voice/endpoint.rs", 3, "str0m's clock"),
    (
        "voice/tcp.rs",
        1,
        "an accept that failed waits for descriptors",
    ),
    (
        "voice/upstream/client.rs",
        3,
        "an upstream's time is not ours",
    ),
    (
        "voice/upstream/line.rs",
        4,
        "an upstream's time is not ours",
    ),
    (
        "voice/wire.rs",
        5,
        "what passed is held against what our time takes",
    ),
];
/// How it is asked.
const ASKS: [&str; 5] = [
    "Instant::now()",
    "SystemTime::now()",
    "time::sleep(",
    "time::timeout(",
    "time::interval(",
];

/// True when every rule holds; each breach is printed with its place.
pub(crate) fn check(root: &Path) -> bool {
    let mut breaches = Vec::new();
    for (krate, allowed) in ARROWS {
        let manifest = root.join(krate).join("Cargo.toml");
        arrows(&manifest, &read(&manifest), allowed, &mut breaches);
    }
    let in_browsers = root.join(ALSO_IN_BROWSERS);
    let crates = rust_files(&root.join("crates"));
    for path in (crates.iter()).filter(|path| !path.starts_with(&in_browsers)) {
        browser_names(path, &read(path), &mut breaches);
    }
    let relay = root.join("crates/relay/src");
    for path in rust_files(&relay) {
        let name = path.strip_prefix(&relay).unwrap_or(&path);
        systems_clock(&path, name, &read(&path), &mut breaches);
    }
    let (client, testing) = (rust_files(&root.join("src")), rust_files(&in_browsers));
    for path in client.into_iter().chain(testing) {
        let text = read(&path);
        held_borrows(&path, &text, &mut breaches);
        exports_and_imports(&path, &text, &mut breaches);
    }
    for breach in &breaches {
        eprintln!("{}", breach.replace(&format!("{}/", root.display()), ""));
    }
    breaches.is_empty()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn breach(path: &Path, line: usize, what: &str) -> String {
    format!("{}:{}: {what}", path.display(), line + 1)
}

/// Code of a line, without its comment.
fn code(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code).trim()
}

fn arrows(path: &Path, manifest: &str, allowed: &[&str], breaches: &mut Vec<String>) {
    let mut table = "";
    for (number, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            table = line;
        }
        // Dev-dependencies are tests: they may look anywhere.
        let counts = table.ends_with("dependencies]")
            && !table.contains("dev-")
            && !table.contains("workspace");
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        if counts && name.starts_with("tautline-") && !allowed.contains(&name) {
            breaches.push(breach(
                path,
                number,
                &format!("depends on {name}, against the arrows of the design"),
            ));
        }
    }
}

fn browser_names(path: &Path, text: &str, breaches: &mut Vec<String>) {
    for (number, line) in text.lines().enumerate() {
        if ["web_sys", "js_sys", "wasm_bindgen"]
            .iter()
            .any(|name| code(line).contains(name))
        {
            breaches.push(breach(
                path,
                number,
                "the browser is named outside the browser driver",
            ));
        }
    }
}

/// The relay's time is its clock's, but where it measures work.
fn systems_clock(path: &Path, name: &Path, text: &str, breaches: &mut Vec<String>) {
    if name.to_string_lossy().ends_with("tests.rs") {
        return;
    }
    let lines = text.lines().take_while(|line| line.trim() != "mod tests {");
    let asked: usize = lines
        .map(|line| {
            ASKS.iter()
                .map(|ask| code(line).matches(ask).count())
                .sum::<usize>()
        })
        .sum();
    let listed = SYSTEMS_CLOCK
        .iter()
        .find(|(file, ..)| Path::new(file) == name)
        .map_or(0, |(_, times, _)| *times);
    if asked != listed {
        breaches.push(breach(
            path,
            0,
            &format!("asks the system for the time {asked} times, not {listed}: clock.rs has ours; SYSTEMS_CLOCK lists who measures work"),
        ));
    }
}

/// A borrow made in the head of `while let`, `if let` or `match` lasts as long as its body, and a callback into
/// the page that comes back finds it taken.
fn held_borrows(path: &Path, text: &str, breaches: &mut Vec<String>) {
    for (number, line) in text.lines().enumerate() {
        let line = code(line);
        let lasts = ["while let ", "if let ", "match "].iter().any(|head| {
            line.find(head).is_some_and(|at| {
                line.get(at..)
                    .is_some_and(|rest| rest.contains(".borrow_mut()"))
            })
        });
        if lasts {
            breaches.push(breach(
                path,
                number,
                "the borrow lasts through the body: take the value out first",
            ));
        }
    }
}

/// Exported methods are never `async fn` with `self` (resolved at the first poll, when the object may be gone),
/// and an imported function that throws without `catch` skips every destructor on its way.
fn exports_and_imports(path: &Path, text: &str, breaches: &mut Vec<String>) {
    let mut attribute = String::new();
    let mut comment = String::new();
    let mut open_attribute = false;
    // Types of which no getter or method throws.
    let mut harmless = Vec::new();
    // The block being read: its kind and the depth at which it began.
    let mut block: Option<(Block, usize)> = None;
    let mut depth = 0_usize;
    for (number, line) in text.lines().enumerate() {
        if let Some((_, said)) = line.split_once("//") {
            comment.push_str(said);
        }
        let line = code(line);
        if line.is_empty() {
            continue;
        }
        if open_attribute || line.starts_with("#[") {
            attribute.push_str(line);
            open_attribute =
                attribute.matches(['[', '(']).count() > attribute.matches([']', ')']).count();
            continue;
        }
        let exported = attribute.contains("wasm_bindgen");
        match block {
            None if exported && line.contains("extern ") => block = Some((Block::Imports, depth)),
            None if exported && line.starts_with("impl") => block = Some((Block::Exports, depth)),
            Some((Block::Imports, _)) => {
                let says = comment.contains(CANNOT_THROW);
                if let Some((_, name)) = line.split_once("type ").filter(|_| says) {
                    harmless.push(format!("this: &{}", name.trim_end_matches(';')));
                }
                if let Some(name) = function_name(line)
                    && !says
                    && !attribute.contains("catch")
                    && !harmless.iter().any(|this| line.contains(this))
                {
                    breaches.push(breach(
                        path,
                        number,
                        &format!("the import {name} may throw: it needs `catch`"),
                    ));
                }
            }
            Some((Block::Exports, _)) if line.contains("async fn ") && line.contains("self") => {
                breaches.push(breach(
                    path,
                    number,
                    "an exported async fn must not take self: return a Promise",
                ));
            }
            Some((Block::Exports, _)) | None => {}
        }
        attribute.clear();
        comment.clear();
        depth = (depth + line.matches('{').count()).saturating_sub(line.matches('}').count());
        if let Some((_, began)) = block
            && depth <= began
            && line.contains('}')
        {
            block = None;
        }
    }
}

#[derive(Clone, Copy)]
enum Block {
    Imports,
    Exports,
}

fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let visible = before.trim();
    if !(visible.is_empty() || visible.starts_with("pub")) {
        return None;
    }
    after.split(['(', '<']).next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn browser(text: &str) -> Vec<String> {
        let mut breaches = Vec::new();
        held_borrows(Path::new("x.rs"), text, &mut breaches);
        exports_and_imports(Path::new("x.rs"), text, &mut breaches);
        breaches
    }

    #[test]
    fn a_borrow_in_the_head_of_a_block_is_found() {
        assert_eq!(
            browser("while let Some(x) = q.borrow_mut().pop() {\n}").len(),
            1
        );
        assert_eq!(
            browser("let x = q.borrow_mut().pop();\nif let Some(x) = x {\n}").len(),
            0
        );
        assert_eq!(browser("// match q.borrow_mut()").len(), 0);
    }

    #[test]
    fn who_asks_the_system_for_the_time_is_listed() {
        let breaches = |name: &str, text: &str| {
            let mut breaches = Vec::new();
            systems_clock(Path::new("x"), Path::new(name), text, &mut breaches);
            breaches.len()
        };
        let one = "let now = Instant::now();\n";
        assert_eq!(breaches("run.rs", one), 0);
        assert_eq!(breaches("run.rs", &one.repeat(2)), 1);
        assert_eq!(breaches("peer.rs", one), 1);
        assert_eq!(
            breaches("peer.rs", &format!("// {one}mod tests {{\n{one}")),
            0
        );
        assert_eq!(breaches("tests.rs", one), 0);
    }

    #[test]
    fn an_exported_async_method_is_found() {
        let exported = "#[wasm_bindgen]\nimpl A {\n    pub async fn f(&self) {\n    }\n}\n";
        assert_eq!(browser(exported).len(), 1);
        assert_eq!(browser(&exported.replace("#[wasm_bindgen]\n", "")).len(), 0);
        assert_eq!(browser(&exported.replace("&self", "x: u8")).len(), 0);
    }

    #[test]
    fn an_import_without_catch_is_found() {
        let import = "#[wasm_bindgen]\nextern \"C\" {\n    #[wasm_bindgen(method, catch)]\n    fn f(this: &T) -> Result<(), JsValue>;\n}\nfn own() {}\n";
        assert_eq!(browser(import).len(), 0);
        let without = import.replace(", catch", "");
        assert_eq!(browser(&without).len(), 1);
        let harmless = without.replacen(
            "    #[",
            "    /// Plain data: its getters cannot throw.\n    type T;\n    #[",
            1,
        );
        assert_eq!(browser(&harmless).len(), 0);
    }

    #[test]
    fn a_dependency_against_the_arrows_is_found() {
        let mut breaches = Vec::new();
        let manifest = "[dependencies]\ntautline-relay.workspace = true\nserde = \"1\"\n[dev-dependencies]\ntautline-relay = \"1\"\n";
        arrows(
            Path::new("Cargo.toml"),
            manifest,
            &["tautline-protocol"],
            &mut breaches,
        );
        assert_eq!(breaches.len(), 1);
    }
}
