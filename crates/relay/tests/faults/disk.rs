//! What a disk holds after a power cut: what was synced, and by chance some of what was not.

use crate::rng::Rng;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// The smallest piece that a disk writes whole.
const SECTOR: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, data: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug, Default)]
struct Content {
    synced: Vec<u8>,
    unsynced: Vec<Change>,
}

/// A change of a folder's names.
#[derive(Clone, Debug)]
enum Naming {
    Named(PathBuf, Node),
    Gone(PathBuf),
    Renamed(PathBuf, PathBuf, Node),
}

impl Naming {
    fn folder(&self) -> &Path {
        let (Self::Named(path, _) | Self::Gone(path) | Self::Renamed(_, path, _)) = self;
        path.parent().unwrap()
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Named(path, node) => drop(names.insert(path.clone(), *node)),
            Self::Gone(path) => drop(names.remove(path)),
            Self::Renamed(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

/// The words of a story: what, on which descriptor, where, with which bytes. The last may be cut short: it was not said.
fn words(mut story: &[u8]) -> impl Iterator<Item = (u8, u32, u64, &[u8])> {
    const HEAD: usize = 1 + 4 + 8 + 4;
    std::iter::from_fn(move || {
        let (head, rest) = story.split_at_checked(HEAD)?;
        let fd = u32::from_le_bytes(head[1..5].try_into().unwrap());
        let at = u64::from_le_bytes(head[5..13].try_into().unwrap());
        let len = u32::from_le_bytes(head[13..].try_into().unwrap()) as usize;
        let (data, rest) = rest.split_at_checked(len)?;
        story = rest;
        Some((head[0], fd, at, data))
    })
}

/// How many changes a story has, as `LAYER_KILL_AT` counts them.
pub(crate) fn changes(story: &[u8]) -> usize {
    words(story)
        .filter(|(op, _, at, _)| match op {
            b'O' => at & 3 != 0,
            b'C' => false,
            _ => true,
        })
        .count()
}

/// How much was lost by a cut.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lost {
    pub(crate) writes: usize,
    pub(crate) names: usize,
}

/// The files below a root as the process saw them and as the disk has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    contents: Vec<Content>,
    seen: BTreeMap<PathBuf, Node>,
    synced: BTreeMap<PathBuf, Node>,
    naming: Vec<Naming>,
    open: HashMap<u32, (PathBuf, Node)>,
}

impl Disk {
    /// What is there now, all of it on the disk.
    pub(crate) fn of(root: &Path) -> Self {
        let mut disk = Self::default();
        disk.take_in(root);
        disk
    }

    fn take_in(&mut self, folder: &Path) {
        self.seen.insert(folder.into(), Node::Folder);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.take_in(&path);
            } else if !path.to_string_lossy().ends_with("-shm") {
                let node = self.content(std::fs::read(&path).unwrap());
                self.seen.insert(path, node);
            }
        }
        self.synced = self.seen.clone();
    }

    fn content(&mut self, synced: Vec<u8>) -> Node {
        self.contents.push(Content {
            synced,
            unsynced: Vec::new(),
        });
        Node::File(self.contents.len() - 1)
    }

    /// What happened, up to a place in the story.
    pub(crate) fn replay(&mut self, story: &[u8]) {
        for (op, fd, at, data) in words(story) {
            self.happened(op, fd, at, data);
        }
    }

    fn happened(&mut self, op: u8, fd: u32, at: u64, data: &[u8]) {
        let path = |data: &[u8]| PathBuf::from(std::str::from_utf8(data).unwrap());
        let file = |disk: &Self| match disk.open.get(&fd) {
            Some((_, Node::File(file))) => Some(*file),
            _ => None,
        };
        match op {
            b'O' => {
                let path = path(data);
                let node = match self.seen.get(&path) {
                    Some(node) => *node,
                    None => {
                        assert_eq!(at & 1, 1, "{path:?} was there, unseen");
                        let node = self.content(Vec::new());
                        self.name(Naming::Named(path.clone(), node));
                        node
                    }
                };
                if let (true, Node::File(file)) = (at & 2 != 0, node) {
                    self.contents[file].unsynced.push(Change::Length(0));
                }
                self.open.insert(fd, (path, node));
            }
            b'C' => drop(self.open.remove(&fd)),
            b'W' => {
                let file = file(self).unwrap();
                self.contents[file].unsynced.push(Change::Write {
                    at: at as usize,
                    data: data.to_vec(),
                });
            }
            b'T' => {
                let file = file(self).unwrap();
                self.contents[file]
                    .unsynced
                    .push(Change::Length(at as usize));
            }
            b'S' => match file(self) {
                Some(file) => {
                    let content = &mut self.contents[file];
                    for change in std::mem::take(&mut content.unsynced) {
                        change.apply(&mut content.synced);
                    }
                }
                None => {
                    let (folder, _) = self.open.get(&fd).unwrap();
                    let (now, later) = std::mem::take(&mut self.naming)
                        .into_iter()
                        .partition(|naming| naming.folder() == folder);
                    self.naming = later;
                    let now: Vec<Naming> = now;
                    now.iter().for_each(|naming| naming.apply(&mut self.synced));
                }
            },
            b'R' => {
                let gap = data.iter().position(|&byte| byte == 0).unwrap();
                let (from, to) = (path(&data[..gap]), path(&data[gap + 1..]));
                let node = self.seen[&from];
                self.name(Naming::Renamed(from, to, node));
            }
            b'U' => {
                let path = path(data);
                // The -shm file is not in the story.
                if self.seen.contains_key(&path) {
                    self.name(Naming::Gone(path));
                }
            }
            b'M' => self.name(Naming::Named(path(data), Node::Folder)),
            other => panic!("{other}"),
        }
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.seen);
        self.naming.push(naming);
    }

    /// The power goes: from the root on there is what the disk has.
    pub(crate) fn cut(&self, root: &Path, rng: &mut Rng) -> Lost {
        let mut lost = Lost::default();
        let mut names = self.synced.clone();
        // Names go to the disk in their order (a file system's journal), contents as they please.
        let kept = match rng.below(3) {
            0 => 0,
            1 => self.naming.len(),
            _ => rng.below(self.naming.len() as u64 + 1) as usize,
        };
        for naming in &self.naming[..kept] {
            naming.apply(&mut names);
        }
        lost.names = self.naming.len() - kept;
        std::fs::remove_dir_all(root).unwrap();
        std::fs::create_dir(root).unwrap();
        let there = |path: &Path, names: &BTreeMap<PathBuf, Node>| {
            path.ancestors()
                .skip(1)
                .take_while(|folder| *folder != root)
                .all(|folder| names.get(folder) == Some(&Node::Folder))
        };
        for (path, node) in &names {
            if path == root || !there(path, &names) {
                continue;
            }
            match node {
                Node::Folder => std::fs::create_dir(path).unwrap(),
                Node::File(file) => {
                    let (content, gone) = self.contents[*file].after(rng);
                    lost.writes += gone;
                    std::fs::write(path, content).unwrap();
                }
            }
        }
        lost
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Length(len) => to.resize(*len, 0),
            Self::Write { at, data } => {
                if to.len() < at + data.len() {
                    to.resize(at + data.len(), 0);
                }
                to[*at..at + data.len()].copy_from_slice(data);
            }
        }
    }

    /// Some of its sectors.
    fn apply_torn(&self, to: &mut Vec<u8>, rng: &mut Rng) {
        let Self::Write { at, data } = self else {
            return self.apply(to);
        };
        for (n, sector) in data.chunks(SECTOR).enumerate() {
            if rng.below(2) == 0 {
                Self::Write {
                    at: at + n * SECTOR,
                    data: sector.to_vec(),
                }
                .apply(to);
            }
        }
    }
}

impl Content {
    /// What the disk has of it, and how many writes it has not.
    fn after(&self, rng: &mut Rng) -> (Vec<u8>, usize) {
        let mut content = self.synced.clone();
        let all = self.unsynced.len();
        match rng.below(4) {
            0 => (content, all),
            1 => {
                for change in &self.unsynced {
                    change.apply(&mut content);
                }
                (content, 0)
            }
            // Up to one that is torn.
            2 => {
                let whole = rng.below(all as u64 + 1) as usize;
                for change in &self.unsynced[..whole] {
                    change.apply(&mut content);
                }
                if let Some(torn) = self.unsynced.get(whole) {
                    torn.apply_torn(&mut content, rng);
                }
                (content, all - whole)
            }
            // Some here and some there, out of order, torn.
            _ => {
                let mut gone = 0;
                for change in &self.unsynced {
                    match rng.below(3) {
                        0 => gone += 1,
                        1 => change.apply(&mut content),
                        _ => change.apply_torn(&mut content, rng),
                    }
                }
                (content, gone)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(op: u8, fd: u32, at: u64, data: &[u8]) -> Vec<u8> {
        let mut word = vec![op];
        word.extend(fd.to_le_bytes());
        word.extend(at.to_le_bytes());
        word.extend((data.len() as u32).to_le_bytes());
        word.extend(data);
        word
    }

    #[test]
    fn what_was_synced_is_there_and_the_rest_by_chance() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let path = root.join("f");
        let name = path.to_str().unwrap().as_bytes();
        let mut story = said(b'O', 3, 1, name);
        story.extend(said(b'W', 3, 0, &[1; 2048]));
        story.extend(said(b'S', 3, 0, &[]));
        let mut named = story.clone();
        named.extend(said(b'O', 4, 4, root.to_str().unwrap().as_bytes()));
        named.extend(said(b'S', 4, 0, &[]));
        named.extend(said(b'W', 3, 512, &[2; 1024]));
        let (mut before, mut after) = (Disk::of(root), Disk::of(root));
        before.replay(&story);
        after.replay(&named);
        let mut seen = std::collections::BTreeSet::new();
        let mut nameless = 0;
        for seed in 0..200 {
            before.cut(root, &mut Rng::new(seed));
            nameless += usize::from(!path.exists());
            after.cut(root, &mut Rng::new(seed));
            let content = std::fs::read(&path).unwrap();
            assert_eq!((content.len(), content[0], content[2047]), (2048, 1, 1));
            seen.insert((content[512], content[1024]));
        }
        assert!((1..200).contains(&nameless), "a name may be lost or not");
        assert_eq!(seen.len(), 4, "each sector may be lost or not: {seen:?}");
    }
}
