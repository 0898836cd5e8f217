//! `cargo xtask guards`: each guard of `tests/guards.md` is taken away in a copy of this tree, and a test must fail.
//!
//! A guard whose removal no test notices is not one: sooner or later somebody removes it.

use crate::planting::{self, Hunk, Section, planted, put};
use crate::{report, root};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const LIST: &str = "tests/guards.md";
const SECTION: &str = "guards";
/// What a command gets, what the mutant has compiled included, unless its mutant says otherwise.
const WITHIN_S: u64 = 900;
/// What a command gets that passes: the first of them may have everything to compile.
const SOUND_WITHIN: Duration = Duration::from_secs(3_600);
/// What the tests of the package need and git does not have.
const LINKED: [&str; 3] = [".tools", "pkg/wasm", "pkg/testing/wasm"];
/// The same, of its own: a suite that finds another lock file than this was installed by installs anew, and would empty ours.
const COPIED: &str = "node_modules";

/// A guard taken away.
struct Mutant {
    name: String,
    file: String,
    /// For `sh`, in the copy's root.
    command: String,
    within: Duration,
    hunks: Vec<Hunk>,
}

impl Mutant {
    fn read(section: Section) -> Result<Self, String> {
        let named = |mark: &str| {
            let found = section.named(mark).map(str::to_owned);
            found.ok_or_else(|| format!("{}: no `{mark}`", section.name))
        };
        let within = match section.named("Within: ") {
            None => Ok(WITHIN_S),
            Some(text) => text.trim_end_matches(" s").parse(),
        };
        let within = within.map_err(|_| format!("{}: Within: `600 s`", section.name))?;
        Ok(Self {
            file: named("In: ")?,
            command: named("Seen by: ")?,
            within: Duration::from_secs(within),
            name: section.name,
            hunks: section.hunks,
        })
    }
}

fn list(text: &str) -> Result<Vec<Mutant>, String> {
    planting::sections(text)
        .into_iter()
        .map(Mutant::read)
        .collect()
}

/// How a command ended.
enum Ran {
    Passed(String),
    Failed(String),
    TookTooLong,
}

/// What became of a mutant.
enum Outcome {
    Caught(String),
    Survived,
    Broken(String),
}

/// The test that failed first, by the words of whichever program ran it.
fn failed_test(said: &str) -> Option<&str> {
    said.lines()
        .find_map(|line| {
            let line = line.trim();
            let cargo = line.strip_prefix("test ")?.split_once(" ... FAIL");
            cargo.map(|(name, _)| name)
        })
        .or_else(|| {
            let node =
                |line: &'_ str| line.trim().starts_with("not ok ") || line.trim().starts_with('✖');
            said.lines().find(|line| node(line)).map(str::trim)
        })
}

/// Whether it ran any test at all: a filter that fits none passes whatever is taken away.
fn runs_none(said: &str) -> bool {
    said.contains("running 0 tests")
        && !said
            .lines()
            .any(|line| line.starts_with("running ") && !line.starts_with("running 0 "))
}

fn run(command: &str, tree: &Path, within: Duration) -> io::Result<Ran> {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("({command}) 2>&1")])
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", folder().join("target"))
        // Most of the time goes into compiling.
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_TERM_COLOR", "never")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0);
    let mut child = shell.spawn()?;
    let mut out = child.stdout.take();
    let (done, said) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(out) = &mut out {
            // Cut short: what was said until then.
            let _ = out.read_to_end(&mut text);
        }
        let _ = done.send(String::from_utf8_lossy(&text).into_owned());
    });
    match said.recv_timeout(within) {
        Ok(said) if child.wait()?.success() => Ok(Ran::Passed(said)),
        Ok(said) => Ok(Ran::Failed(said)),
        Err(_) => {
            // It and whatever it started: they are one group.
            let group = format!("-{}", child.id());
            Command::new("kill").args(["-9", "--", &group]).status()?;
            child.wait()?;
            Ok(Ran::TookTooLong)
        }
    }
}

fn folder() -> PathBuf {
    root().join("target/guards")
}

/// The copy is as this tree is, changes that are not committed too; what is the same stays, with its time.
fn copy(tree: &Path) -> io::Result<()> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root())
        .output()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let files: BTreeSet<&str> = listed
        .split('\0')
        .filter(|path| !path.is_empty() && root().join(path).is_file())
        .collect();
    let before = folder().join("files");
    for gone in fs::read_to_string(&before).unwrap_or_default().lines() {
        if !files.contains(gone) {
            let _ = fs::remove_file(tree.join(gone));
        }
    }
    for path in &files {
        put(&tree.join(path), fs::read(root().join(path))?)?;
    }
    for name in LINKED {
        let (from, to) = (root().join(name), tree.join(name));
        if from.exists() && !to.exists() {
            to.parent().map_or(Ok(()), fs::create_dir_all)?;
            symlink(from, to)?;
        }
    }
    let (from, to) = (root().join(COPIED), tree.join(COPIED));
    if from.exists() && !to.exists() {
        Command::new("cp").arg("-a").args([from, to]).status()?;
    }
    put(&before, files.into_iter().collect::<Vec<_>>().join("\n"))
}

fn try_out(mutant: &Mutant, tree: &Path) -> io::Result<Outcome> {
    let path = tree.join(&mutant.file);
    let whole = fs::read_to_string(&path)?;
    let without = match planted(&whole, &mutant.hunks) {
        Ok(without) => without,
        Err(why) => return Ok(Outcome::Broken(why)),
    };
    put(&path, without)?;
    let ran = run(&mutant.command, tree, mutant.within);
    put(&path, whole)?;
    Ok(match ran? {
        Ran::Passed(_) => Outcome::Survived,
        Ran::TookTooLong => Outcome::Caught("hangs".into()),
        // The browser's runner has a time of its own.
        Ran::Failed(said) if said.contains("might have timed out") => {
            Outcome::Caught("hangs".into())
        }
        Ran::Failed(said) if said.contains("could not compile") => {
            Outcome::Broken("does not compile".into())
        }
        Ran::Failed(said) => match failed_test(&said) {
            Some(test) => Outcome::Caught(format!("`{test}`")),
            None => Outcome::Broken(format!("fails, but no test does: {}", last_words(&said))),
        },
    })
}

fn last_words(said: &str) -> String {
    let lines: Vec<&str> = said.lines().rev().take(4).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

/// Each command passes as long as nothing is taken away; what it says of one that does not.
fn sound(mutants: &[&Mutant], tree: &Path) -> io::Result<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut unsound = Vec::new();
    for mutant in mutants {
        if !seen.insert(mutant.command.as_str()) {
            continue;
        }
        let why = match run(&mutant.command, tree, SOUND_WITHIN)? {
            Ran::Passed(said) if runs_none(&said) => "runs no test".to_owned(),
            Ran::Passed(_) => continue,
            Ran::Failed(said) => format!("fails as it is: {}", last_words(&said)),
            Ran::TookTooLong => "takes too long as it is".to_owned(),
        };
        println!("FAILED {}: `{}` {why}", mutant.name, mutant.command);
        unsound.push(mutant.command.clone());
    }
    Ok(unsound)
}

/// Takes away each guard in turn, or those named.
pub(crate) fn guards(arguments: &[String]) -> bool {
    let (mut only, mut write) = (Vec::new(), false);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match (word.as_str(), words.as_slice().first()) {
            ("--write", _) => write = true,
            ("--only", Some(_)) => only.extend(words.next()),
            _ => {
                eprintln!("guards: [--only NAME]… [--write]");
                return false;
            }
        }
    }
    match all(&only, write) {
        Ok(done) => done,
        Err(error) => {
            eprintln!("guards: {error}");
            false
        }
    }
}

/// What the document has, a row for each mutant; those that are tried again are put in their place.
struct Table {
    rows: BTreeMap<String, String>,
}

impl Table {
    fn so_far() -> Self {
        let text = report::read(SECTION).unwrap_or_default();
        let rows = text.lines().filter_map(|row| {
            let name = row.strip_prefix("| ")?.split(" |").next()?;
            Some((name.to_owned(), row.to_owned()))
        });
        Self {
            rows: rows.collect(),
        }
    }

    /// In the order of the list; what is not on it any more is left out.
    fn text(&self, list: &[Mutant]) -> String {
        let rows: Vec<&str> = list
            .iter()
            .filter_map(|mutant| self.rows.get(&mutant.name).map(String::as_str))
            .collect();
        let survive = rows.iter().filter(|row| row.contains("**")).count();
        let mut text = format!(
            "`cargo xtask guards --write`: {} of {} guards taken away one by one, {survive} of them unnoticed.\n\n| guard | in | taken away, this fails |\n| --- | --- | --- |\n",
            rows.len(),
            list.len()
        );
        for row in rows {
            let _ = writeln!(text, "{row}");
        }
        text
    }
}

fn all(only: &[&String], write: bool) -> io::Result<bool> {
    let text = fs::read_to_string(root().join(LIST))?;
    let list = list(&text).map_err(io::Error::other)?;
    if let Some(unknown) = only
        .iter()
        .find(|name| list.iter().all(|of| of.name != ***name))
    {
        return Err(io::Error::other(format!("{LIST} has no {unknown}")));
    }
    let chosen: Vec<&Mutant> = list
        .iter()
        .filter(|mutant| only.is_empty() || only.contains(&&mutant.name))
        .collect();
    let began = Instant::now();
    let tree = folder().join("tree");
    copy(&tree)?;
    let unsound = sound(&chosen, &tree)?;
    let mut table = Table::so_far();
    let mut failed = unsound.len();
    for mutant in &chosen {
        if unsound.contains(&mutant.command) {
            continue;
        }
        let Mutant { name, file, .. } = mutant;
        let row = match try_out(mutant, &tree)? {
            Outcome::Caught(by) => format!("| {name} | `{file}` | {by} |"),
            Outcome::Survived => {
                failed += 1;
                format!("| {name} | `{file}` | nothing: **it survives** |")
            }
            Outcome::Broken(why) => {
                println!("FAILED {name}: {why}");
                failed += 1;
                continue;
            }
        };
        println!("{row}");
        table.rows.insert(name.clone(), row);
        if write {
            // Each as it comes: a run that is broken off has not been for nothing.
            report::section(SECTION, &table.text(&list));
        }
    }
    println!(
        "guards: {} of {}, {failed} failed, {} s",
        chosen.len(),
        list.len(),
        began.elapsed().as_secs()
    );
    Ok(failed == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where each `impl Drop` has at least one mutant.
    const WATCHED: [&str; 3] = ["crates/relay/src", "crates/machine/src", "src"];

    /// Lines of each `impl … Drop for …` that is no test's, from the first to the last.
    fn drops(text: &str) -> Vec<(usize, usize)> {
        let lines: Vec<&str> = text.lines().collect();
        let tests = lines.iter().position(|line| line.trim() == "#[cfg(test)]");
        let code = &lines[..tests.unwrap_or(lines.len())];
        let heads = code.iter().enumerate().filter(|(_, line)| {
            let line = line.trim();
            line.starts_with("impl") && line.contains(" Drop for ")
        });
        heads
            .map(|(first, head)| {
                let end = format!("{}}}", " ".repeat(head.len() - head.trim_start().len()));
                let long = lines[first..].iter().position(|line| *line == end);
                (first, first + long.unwrap())
            })
            .collect()
    }

    #[test]
    fn each_guard_is_where_the_list_says_and_each_drop_is_on_it() {
        let list = list(&fs::read_to_string(root().join(LIST)).unwrap()).unwrap();
        let mut wrong = Vec::new();
        let mut names = BTreeSet::new();
        let mut places = Vec::new();
        for mutant in &list {
            let source = fs::read_to_string(root().join(&mutant.file)).unwrap_or_default();
            let lines: Vec<&str> = source.lines().collect();
            if !names.insert(&mutant.name) || mutant.hunks.is_empty() {
                wrong.push(format!("{}: twice, or without a change", mutant.name));
            }
            for hunk in &mutant.hunks {
                match hunk.place(&lines) {
                    Ok((at, many)) => places.push((mutant.file.as_str(), at, at + many - 1)),
                    Err(why) => wrong.push(format!("{}: {why}", mutant.name)),
                }
            }
        }
        let files = WATCHED
            .iter()
            .flat_map(|folder| crate::sources::rust_files(&root().join(folder)));
        for path in files {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
            if name.ends_with("tests.rs") {
                continue;
            }
            for (first, last) in drops(&fs::read_to_string(&path).unwrap()) {
                let is_on_it = |&(file, from, to): &(&str, usize, usize)| {
                    file == name && first <= to && from <= last
                };
                if !places.iter().any(is_on_it) {
                    wrong.push(format!(
                        "{name}:{}: a Drop that {LIST} does not have",
                        first + 1
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn the_table_goes_on_from_what_it_was() {
        let list =
            list("## b\n\nIn: `x.rs`. Seen by: `true`.\n\n## a\n\nIn: `x.rs`. Seen by: `true`.\n")
                .unwrap();
        let mut table = Table {
            rows: BTreeMap::new(),
        };
        for (name, by) in [
            ("a", "`t`"),
            ("b", "nothing: **it survives**"),
            ("old", "`t`"),
        ] {
            let row = format!("| {name} | `x.rs` | {by} |");
            table.rows.insert(name.into(), row);
        }
        let text = table.text(&list);
        assert!(text.contains("2 of 2 guards taken away one by one, 1 of them unnoticed"));
        let (b, a) = (text.find("| b |").unwrap(), text.find("| a |").unwrap());
        assert!(b < a && !text.contains("| old |"), "{text}");
    }

    #[test]
    fn a_drop_is_found_and_one_of_a_test_is_not() {
        let text = "impl Drop for A {\n    fn drop(&mut self) {\n    }\n}\nmod m {\n    impl<T> Drop for B<T> {\n    }\n}\n#[cfg(test)]\nimpl Drop for C {\n}\n";
        assert_eq!(drops(text), [(0, 3), (5, 6)]);
    }

    #[test]
    fn the_test_that_failed_is_named_whoever_ran_it() {
        let cargo = "running 2 tests\ntest a::b ... ok\ntest a::c ... FAILED\n";
        assert_eq!(failed_test(cargo), Some("a::c"));
        assert_eq!(
            failed_test("ok 1 - x\nnot ok 2 - y\n"),
            Some("not ok 2 - y")
        );
        assert!(runs_none("running 0 tests\n\nrunning 0 tests\n"));
        assert!(!runs_none("running 0 tests\nrunning 1 test\n") && !runs_none("# tests 3"));
    }
}
