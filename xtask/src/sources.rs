//! Rules of this code that clippy cannot see, read off the text of the sources.

use std::fs;
use std::path::{Path, PathBuf};

/// What the comment of an import, or of the type it is a method of, says when it may go without `catch`.
const CANNOT_THROW: &str = "cannot throw";

/// Dependencies point one way: protocol ← machine ← (client, relay).
const ARROWS: &[(&str, &[&str])] = &[
    ("crates/protocol", &[]),
    ("crates/machine", &["tautline-protocol"]),
    ("crates/relay", &["tautline-protocol", "tautline-machine"]),
    (".", &["tautline-protocol", "tautline-machine"]),
];

/// True when every rule holds; each breach is printed with its place.
pub(crate) fn check(root: &Path) -> bool {
    let mut breaches = Vec::new();
    for (krate, allowed) in ARROWS {
        let manifest = root.join(krate).join("Cargo.toml");
        arrows(&manifest, &read(&manifest), allowed, &mut breaches);
    }
    for path in rust_files(&root.join("crates")) {
        browser_names(&path, &read(&path), &mut breaches);
    }
    for path in rust_files(&root.join("src")) {
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
