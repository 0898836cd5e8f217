//! A store's copy out, and a copy back in.

use super::check::{self, Found};
use super::files::{self, Partial, sync_folder};
use super::lock::FolderLock;
use super::{DATABASE, schema};
use crate::Fatal;
use rusqlite::Connection;
use std::path::{Path, PathBuf};

/// A restored database that has not taken the old one's place yet: from here on the old one is history.
const RESTORED: &str = "tautline.restored.db";
/// What a restore took the place of.
const REPLACED: &str = "tautline.replaced.db";

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// For commands that only read: what they would read is about to be replaced.
pub(super) fn no_restore_under_way(folder: &Path) -> Result<(), Fatal> {
    if folder.join(RESTORED).exists() {
        return Err(Fatal::new(format!(
            "a restore into {} was interrupted; start the relay or restore again, either finishes it",
            folder.display()
        )));
    }
    Ok(())
}

/// Writes all that is committed to one file, whole or not at all; a relay may run on the folder meanwhile.
///
/// # Errors
/// There is no store, it is damaged, or the file cannot be written. A file of that name is then as it was.
pub fn backup(folder: &Path, to: &Path) -> Result<Found, Fatal> {
    no_restore_under_way(folder)?;
    let path = folder.join(DATABASE);
    if !path.exists() {
        return Err(Fatal::new(format!(
            "there is no store in {}",
            folder.display()
        )));
    }
    if is_ours(folder, to) {
        return Err(Fatal::usage(format!(
            "--to {}: that is a file of the store itself; name one outside the data folder",
            to.display()
        )));
    }
    let source = schema::open_reader(&path)?;
    if schema::known_version(&source, &path)? == 0 {
        return Err(Fatal::new(format!(
            "the store in {} is empty: no relay has run on it yet",
            folder.display()
        )));
    }
    let partial = Partial::begin(to)?;
    schema::copy_into(&source, &partial)?;
    drop(source);
    let copy = open_copy(&partial.path)?;
    let found = check::inspect(&copy, schema::known_version(&copy, &partial.path)?)
        .map_err(|error| schema::damaged_or(&path, &error))?;
    if let Some(problem) = found.problems.first() {
        // An earlier good backup is not given up for this one.
        return Err(Fatal::new(format!(
            "the store in {} is not sound ({problem}), no backup was made; `tautline-relay check` says more",
            folder.display()
        )));
    }
    schema::mark_closed(&copy).map_err(|error| cannot_write(to, &error))?;
    drop(copy);
    partial.finish()?;
    Ok(found)
}

/// Puts a backup into a data folder that holds no store, or with `force` in place of the one it holds, which is kept as
/// `tautline.replaced.db`. Every restaurant begins a new epoch: what clients were told since the backup is gone.
///
/// # Errors
/// The file is not a sound store, the folder is a running relay's or holds a store. The folder is then as it was.
pub fn restore(from: &Path, folder: &Path, force: bool) -> Result<Found, Fatal> {
    let mut found = sound(from)?;
    let _lock = FolderLock::take(folder)?;
    let path = folder.join(DATABASE);
    finish_restore(&path)?;
    if path.exists() && !force {
        return Err(Fatal::new(format!(
            "{} holds a store already; restore into another folder, or over it with --force (it is kept as {REPLACED})",
            folder.display()
        )));
    }
    let partial = Partial::begin(&folder.join(RESTORED))?;
    schema::copy_into(&schema::open_reader(from)?, &partial)?;
    let begin_anew = || {
        let copy = Connection::open(&partial.path)?;
        single_file(&copy)?;
        let change = copy.unchecked_transaction()?;
        schema::begin_epochs(&change)?;
        schema::mark_closed(&change)?;
        change.commit()
    };
    begin_anew().map_err(|error| cannot_write(&partial.path, &error))?;
    for suffix in ["", "-wal"] {
        // Its place is needed for what is replaced now.
        let _ = std::fs::remove_file(with_suffix(&folder.join(REPLACED), suffix));
    }
    partial.finish()?;
    finish_restore(&path)?;
    found.events = 0;
    Ok(found)
}

/// A restored database takes its place, whenever the one who brought it was interrupted. Called with the folder locked.
pub(super) fn finish_restore(path: &Path) -> Result<(), Fatal> {
    let folder = files::folder_of(path);
    let (restored, replaced) = (folder.join(RESTORED), folder.join(REPLACED));
    if !restored.exists() {
        return Ok(());
    }
    let take_its_place = || {
        // The write-ahead log first, and for good: beside the new database it would be taken for its own.
        for suffix in ["-wal", ""] {
            let old = with_suffix(path, suffix);
            if old.exists() {
                std::fs::rename(old, with_suffix(&replaced, suffix))?;
            }
        }
        match std::fs::remove_file(with_suffix(path, "-shm")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        sync_folder(folder)?;
        std::fs::rename(&restored, path)?;
        sync_folder(folder)
    };
    take_its_place().map_err(|error| {
        Fatal::new(format!(
            "the restored store could not take its place in {}: {error}",
            folder.display()
        ))
    })
}

/// A file that may be restored from.
fn sound(from: &Path) -> Result<Found, Fatal> {
    if !from.is_file() {
        return Err(Fatal::new(format!(
            "--from {}: no such file",
            from.display()
        )));
    }
    let found = check::inspect_file(from).map_err(|fatal| {
        Fatal::new(format!(
            "--from {} cannot be restored: {fatal}",
            from.display()
        ))
    })?;
    match found.problems.first() {
        None => Ok(found),
        Some(problem) => Err(Fatal::new(format!(
            "--from {} is not sound ({problem}); take another backup",
            from.display()
        ))),
    }
}

fn is_ours(folder: &Path, to: &Path) -> bool {
    let same = |a: &Path, b: &Path| a.canonicalize().ok() == b.canonicalize().ok();
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    same(folder, files::folder_of(to))
        && (name.starts_with("tautline.") || name == "lock" || name == "dev-secret")
}

fn open_copy(path: &Path) -> Result<Connection, Fatal> {
    let open = || {
        let copy = Connection::open(path)?;
        single_file(&copy)?;
        rusqlite::Result::Ok(copy)
    };
    open().map_err(|error| cannot_write(path, &error))
}

/// No file beside it, neither now nor when somebody looks at it.
fn single_file(copy: &Connection) -> rusqlite::Result<()> {
    copy.pragma_update(None, "temp_store", "memory")?;
    copy.pragma_update_and_check(None, "journal_mode", "delete", |row| {
        row.get::<_, String>(0)
    })?;
    // If it is interrupted it is begun anew.
    copy.pragma_update_and_check(None, "journal_mode", "memory", |row| {
        row.get::<_, String>(0)
    })
    .map(|_| ())
}

fn cannot_write(path: &Path, error: &rusqlite::Error) -> Fatal {
    Fatal::new(format!("{} cannot be written: {error}", path.display()))
}
