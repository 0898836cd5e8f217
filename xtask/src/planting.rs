//! Changes made on purpose, read from a list and planted in a copy: a heading for each, words, and blocks of `diff`. Lines are
//! compared without their indentation, and what is to be changed must be there exactly once.

use std::fs;
use std::io;
use std::path::Path;

/// One place of one file, as it is and as the change makes it.
#[derive(Debug)]
pub(crate) struct Hunk {
    find: Vec<String>,
    put: Vec<String>,
}

/// What stands under one heading.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) name: String,
    words: Vec<String>,
    pub(crate) hunks: Vec<Hunk>,
}

impl Section {
    /// What stands between the first backticks behind a mark, on a line that has it.
    pub(crate) fn named(&self, mark: &str) -> Option<&str> {
        let after = self.words.iter().find_map(|line| line.split_once(mark));
        after.and_then(|(_, rest)| rest.split('`').nth(1))
    }
}

/// Reads a list.
pub(crate) fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut block: Option<Hunk> = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            sections.push(Section {
                name: name.to_owned(),
                words: Vec::new(),
                hunks: Vec::new(),
            });
            continue;
        }
        let Some(section) = sections.last_mut() else {
            continue;
        };
        if let Some(hunk) = &mut block {
            if line == "```" {
                section.hunks.extend(block.take());
                continue;
            }
            let (sign, rest) = line.split_at_checked(1).unwrap_or((" ", ""));
            if sign != "+" {
                hunk.find.push(rest.trim().to_owned());
            }
            if sign != "-" {
                hunk.put.push(rest.to_owned());
            }
        } else if line == "```diff" {
            block = Some(Hunk {
                find: Vec::new(),
                put: Vec::new(),
            });
        } else {
            section.words.push(line.to_owned());
        }
    }
    sections
}

impl Hunk {
    /// The line it begins at, counted from 0, and how many it looks at.
    pub(crate) fn place(&self, lines: &[&str]) -> Result<(usize, usize), String> {
        let at = |start: usize| {
            let here = lines.iter().skip(start).take(self.find.len());
            here.map(|line| line.trim())
                .eq(self.find.iter().map(String::as_str))
        };
        let places: Vec<usize> = (0..lines.len()).filter(|&start| at(start)).collect();
        match places[..] {
            [place] => Ok((place, self.find.len())),
            _ => Err(format!(
                "no longer applies: {} places have {:?}",
                places.len(),
                self.find.first()
            )),
        }
    }
}

/// The file with the change in it.
pub(crate) fn planted(source: &str, hunks: &[Hunk]) -> Result<String, String> {
    let mut lines: Vec<&str> = source.lines().collect();
    for hunk in hunks {
        let (place, many) = hunk.place(&lines)?;
        lines.splice(place..place + many, hunk.put.iter().map(String::as_str));
    }
    Ok(lines.join("\n") + "\n")
}

/// Writes a file only when it differs, so that nothing is compiled for nothing.
pub(crate) fn put(path: &Path, text: impl AsRef<[u8]>) -> io::Result<()> {
    let text = text.as_ref();
    if fs::read(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}
