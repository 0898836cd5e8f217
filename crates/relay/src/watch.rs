//! Files that may change under us. They are looked at, not listened to: a look costs a system call, and it sees what is
//! put in place by rename, through a symbolic link (as mounted secrets are) or over a network alike.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often they are looked at.
pub(crate) const EVERY: Duration = Duration::from_secs(1);

/// What tells one state of a file from the next; `None` while there is none.
type Stamp = Option<(u64, u64, i64, i64, i64, i64)>;

fn stamp(path: &Path) -> Stamp {
    let is = std::fs::metadata(path).ok()?;
    let (changed, written) = ((is.ctime(), is.ctime_nsec()), (is.mtime(), is.mtime_nsec()));
    Some((
        is.ino(),
        is.size(),
        changed.0,
        changed.1,
        written.0,
        written.1,
    ))
}

/// Files that belong together, and how they were when last looked at.
#[derive(Debug)]
pub(crate) struct Files {
    paths: Vec<PathBuf>,
    seen: Mutex<Vec<Stamp>>,
}

impl Files {
    /// Looks before the caller reads them, so that a change meanwhile shows at the next look.
    pub(crate) fn new(paths: &[&Path]) -> Self {
        let files = Self {
            paths: paths.iter().map(|path| path.to_path_buf()).collect(),
            seen: Mutex::default(),
        };
        files.changed();
        files
    }

    /// Whether any is another than at the last look.
    pub(crate) fn changed(&self) -> bool {
        let now: Vec<Stamp> = self.paths.iter().map(|path| stamp(path)).collect();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *seen != now;
        *seen = now;
        changed
    }
}
