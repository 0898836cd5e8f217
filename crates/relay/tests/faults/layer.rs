//! The relay over files that fail on command and whose every change is known (`layer.c`).

use crate::support::{self, Relay};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The layer, compiled once.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let making = folder.join(format!("layer-{}.so", std::process::id()));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/layer.c");
        let made = Command::new(std::env::var_os("CC").unwrap_or("cc".into()))
            .args([
                "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o",
            ])
            .arg(&making)
            .args([source, "-ldl", "-pthread"])
            .status()
            .expect("a C compiler: Debian's package build-essential has one");
        assert!(made.success(), "layer.c does not compile");
        let library = folder.join("layer.so");
        std::fs::rename(making, &library).unwrap();
        library
    })
}

/// One process's files and the means to hurt it. All is in a folder of its own: `root` is what the layer watches, the data
/// folder is in it, so that the data folder's own name may get lost too.
pub(crate) struct Layer {
    folder: tempfile::TempDir,
    boots: u32,
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Layer {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("root")).unwrap();
        std::fs::write(folder.path().join("control"), [0; 8]).unwrap();
        let mut layer = Self {
            folder,
            boots: 0,
            environment: Vec::new(),
        };
        layer.boot();
        layer
    }

    fn path(&self, name: &str) -> PathBuf {
        // As SQLite sees it.
        self.folder.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path("root")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("root/data")
    }

    /// The machine has booted again.
    pub(crate) fn boot(&mut self) {
        self.boots += 1;
        std::fs::write(self.path("boot"), format!("boot-{}\n", self.boots)).unwrap();
    }

    /// What happened to the files since the last [`Layer::forget`].
    pub(crate) fn trace(&self) -> Vec<u8> {
        std::fs::read(self.path("trace")).unwrap_or_default()
    }

    /// How much has happened by now.
    pub(crate) fn moment(&self) -> impl Fn() -> u64 + Clone + Send + Sync + 'static {
        let path = self.path("trace");
        move || std::fs::metadata(&path).map_or(0, |trace| trace.len())
    }

    pub(crate) fn forget(&self) {
        let _ = std::fs::remove_file(self.path("trace"));
    }

    fn control(&self, byte: u64, on: bool) {
        let control = std::fs::File::options()
            .write(true)
            .open(self.path("control"))
            .unwrap();
        control.write_all_at(&[u8::from(on)], byte).unwrap();
    }

    pub(crate) fn full(&self, on: bool) {
        self.control(0, on);
    }

    pub(crate) fn bad_sync(&self, on: bool) {
        self.control(1, on);
    }

    pub(crate) fn bad_write(&self, on: bool) {
        self.control(2, on);
    }

    /// The process is killed when it next syncs, with all written and nothing synced.
    pub(crate) fn kill_at_sync(&self, on: bool) {
        self.control(3, on);
    }

    /// The relay's program under the layer.
    pub(crate) fn command(&self) -> Command {
        let mut command = support::command();
        command
            .env("LD_PRELOAD", library())
            .env("LAYER_ROOT", self.root())
            .env("LAYER_TRACE", self.path("trace"))
            .env("LAYER_CONTROL", self.path("control"))
            .env("LAYER_BOOT", self.path("boot"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn start(&self, args: &[&str]) -> Relay {
        Relay::spawn(self.command(), &self.data(), args)
    }
}
