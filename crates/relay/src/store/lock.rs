use super::files::make_folder;
use crate::Fatal;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The data folder is ours while this lives; the system lets go of it however the process ends.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Makes the folder if need be and takes its lock.
    pub(super) fn take(folder: &Path) -> Result<Self, Fatal> {
        let cannot = |error: std::io::Error| {
            Fatal::new(format!(
                "the data folder {} cannot be used: {error}",
                folder.display()
            ))
        };
        make_folder(folder).map_err(cannot)?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.join("lock"))
            .map_err(cannot)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            return Err(Fatal::new(format!(
                "the data folder {} is in use by another relay, process {}; stop it or choose another --data-dir",
                folder.display(),
                pid.trim()
            )));
        }
        file.set_len(0).map_err(cannot)?;
        file.rewind().map_err(cannot)?;
        writeln!(file, "{}", std::process::id()).map_err(cannot)?;
        Ok(Self { _file: file })
    }
}

/// Who holds the folder, without making or taking anything; `None` when nobody does.
pub(super) fn holder(folder: &Path) -> Option<String> {
    let mut file = File::open(folder.join("lock")).ok()?;
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return None;
    }
    let mut pid = String::new();
    let _ = file.read_to_string(&mut pid);
    Some(pid.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_told_who_holds_it_and_a_later_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let held = FolderLock::take(folder.path()).unwrap();
        let error = FolderLock::take(folder.path()).unwrap_err();
        assert!(
            error
                .message
                .contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        drop(held);
        assert!(FolderLock::take(folder.path()).is_ok());
    }
}
