//! Figures go into the documents by the commands that measured them: a section between two marks is replaced.

use crate::root;
use std::fs;

/// What stands between the marks.
pub(crate) fn read(name: &str) -> Option<String> {
    let text = fs::read_to_string(root().join("docs/reliability.md")).ok()?;
    let (_, rest) = text.split_once(&format!("<!-- {name}:begin -->\n"))?;
    let (section, _) = rest.split_once(&format!("<!-- {name}:end -->"))?;
    Some(section.to_owned())
}

/// Replaces what stands between `<!-- name:begin -->` and `<!-- name:end -->` in `docs/reliability.md`.
pub(crate) fn section(name: &str, text: &str) {
    let path = root().join("docs/reliability.md");
    let (begin, end) = (
        format!("<!-- {name}:begin -->\n"),
        format!("<!-- {name}:end -->"),
    );
    let old = fs::read_to_string(&path).unwrap_or_else(|_| "# Reliability\n".into());
    let parts = old.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before.to_owned(), after.to_owned()))
    });
    // A section that has no place yet gets one at the end.
    let (before, after) = parts.unwrap_or_else(|| (format!("{old}\n"), "\n".into()));
    let new = format!("{before}{begin}{}\n{end}{after}", text.trim_end());
    match fs::write(&path, new) {
        Ok(()) => println!("docs/reliability.md: section {name} written"),
        Err(error) => eprintln!("docs/reliability.md: {error}"),
    }
}
