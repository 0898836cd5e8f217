//! Files that are there whole or not at all, also after a power cut.

use crate::Fatal;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, Permissions};
use std::io::{self, Error};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What a file is called while it is being written.
fn partial_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// The folder a path is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder and those above it, durably, for us alone.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let parent = folder_of(folder);
    make_folder(parent)?;
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_folder(parent)
}

/// A file in the making, locked against a second one in the making; readable by us alone.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) path: PathBuf,
    wanted: PathBuf,
    file: File,
    done: bool,
}

impl Partial {
    /// Empty; what an interrupted one left is dropped.
    pub(super) fn begin(wanted: &Path) -> Result<Self, Fatal> {
        let cannot =
            |error: Error| Fatal::new(format!("{} cannot be written: {error}", wanted.display()));
        if wanted.is_dir() {
            return Err(Fatal::usage(format!(
                "{} is a folder; name a file",
                wanted.display()
            )));
        }
        let path = partial_name(wanted);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(cannot)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(Fatal::new(format!(
                "{} is just being written by another process",
                wanted.display()
            )));
        }
        // Whatever an interrupted one was like.
        file.set_permissions(Permissions::from_mode(0o600))
            .map_err(cannot)?;
        file.set_len(0).map_err(cannot)?;
        Ok(Self {
            path,
            wanted: wanted.to_owned(),
            file,
            done: false,
        })
    }

    /// Whole and on the disk: it takes its name.
    pub(super) fn finish(mut self) -> Result<(), Fatal> {
        let take = || {
            self.file.sync_all()?;
            std::fs::rename(&self.path, &self.wanted)?;
            sync_folder(folder_of(&self.wanted))
        };
        let taken = take().map_err(|error| {
            Fatal::new(format!(
                "{} cannot be written: {error}",
                self.wanted.display()
            ))
        });
        self.done = taken.is_ok();
        taken
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.done {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Writes a small file whole, durably, for us alone.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::io::Write;
    let partial = partial_name(path);
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    sync_folder(folder_of(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_to_nothing_leaves_no_file_and_what_is_finished_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = folder.path().join("copy");
        let files = || std::fs::read_dir(folder.path()).unwrap().count();
        let partial = Partial::begin(&wanted).unwrap();
        assert_eq!(files(), 1);
        drop(partial);
        assert_eq!(files(), 0);
        Partial::begin(&wanted).unwrap().finish().unwrap();
        assert!(wanted.exists() && files() == 1);
    }
}
