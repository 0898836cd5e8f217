//! The commands that look after a store: `backup`, `restore`, `export`, `import`, `check`.

use crate::config::{DataDir, ServeArgs};
use crate::http::Www;
use crate::store;
use crate::token::Keys;
use crate::{Fatal, say};
use clap::Args;
use std::path::{Path, PathBuf};
use tautline_protocol::is_restaurant_id;

/// Which store.
#[derive(Args, Clone, Debug)]
struct Folder {
    /// Folder of the store
    #[arg(
        long,
        env = "TAUTLINE_DATA_DIR",
        value_name = "DIR",
        default_value = "./data"
    )]
    data_dir: PathBuf,
}

impl Folder {
    fn path(&self) -> Result<&Path, Fatal> {
        match DataDir::from(Some(self.data_dir.clone())) {
            DataDir::Folder(_) => Ok(&self.data_dir),
            DataDir::Memory => Err(Fatal::usage(
                "--data-dir :memory: is inside a running relay; name a folder",
            )),
        }
    }
}

/// `backup`.
#[derive(Args, Clone, Debug)]
pub struct BackupArgs {
    #[command(flatten)]
    folder: Folder,
    /// The file to write; one of that name is replaced once the new one is whole
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// `restore`.
#[derive(Args, Clone, Debug)]
pub struct RestoreArgs {
    #[command(flatten)]
    folder: Folder,
    /// A file that `backup` wrote
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Take the place of the store that is there; it is kept as tautline.replaced.db
    #[arg(long)]
    force: bool,
}

/// `export`.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    #[command(flatten)]
    folder: Folder,
    /// The restaurant's id
    #[arg(long, value_name = "ID")]
    restaurant: String,
    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// `import`.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    #[command(flatten)]
    folder: Folder,
    /// A file that `export` wrote
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Take the place of the restaurant of that name, if there is one; what it held is gone
    #[arg(long)]
    replace: bool,
}

/// `check`: what `serve` takes.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    #[command(flatten)]
    serve: ServeArgs,
}

impl BackupArgs {
    /// Writes the backup.
    ///
    /// # Errors
    /// One sentence.
    pub fn run(self) -> Result<(), Fatal> {
        let found = store::backup(self.folder.path()?, &self.to)?;
        let _ = say(format_args!(
            "{}: {}; keep it as private as the store",
            self.to.display(),
            found.summary()
        ));
        Ok(())
    }
}

impl RestoreArgs {
    /// Restores.
    ///
    /// # Errors
    /// One sentence.
    pub fn run(self) -> Result<(), Fatal> {
        let folder = self.folder.path()?;
        let found = store::restore(&self.from, folder, self.force)?;
        let _ = say(format_args!(
            "{}: {}; every restaurant begins a new epoch, so clients will load their orders anew",
            folder.display(),
            found.summary()
        ));
        Ok(())
    }
}

impl ExportArgs {
    /// Exports.
    ///
    /// # Errors
    /// One sentence.
    pub fn run(self) -> Result<(), Fatal> {
        let folder = self.folder.path()?;
        if !is_restaurant_id(&self.restaurant) {
            return Err(Fatal::usage(format!(
                "--restaurant {}: not a restaurant id",
                self.restaurant
            )));
        }
        let counts = store::export(folder, &self.restaurant, self.to.as_deref())?;
        // Standard output is the export's.
        if let Some(to) = &self.to {
            let _ = say(format_args!(
                "{}: restaurant {}, {counts}; it holds names and phone numbers",
                to.display(),
                self.restaurant
            ));
        }
        Ok(())
    }
}

impl ImportArgs {
    /// Imports.
    ///
    /// # Errors
    /// One sentence.
    pub fn run(self) -> Result<(), Fatal> {
        let folder = self.folder.path()?;
        let imported = store::import(&self.from, folder, self.replace)?;
        let _ = say(format_args!(
            "{}: restaurant {}, {}; it begins a new epoch",
            folder.display(),
            imported.restaurant,
            imported.counts
        ));
        Ok(())
    }
}

fn wrong(fatal: Fatal) -> Fatal {
    Fatal::new(format!("the configuration is wrong: {fatal}"))
}

impl CheckArgs {
    /// Looks at configuration and store and says what it found.
    ///
    /// # Errors
    /// Something is not as it must be.
    pub fn run(self) -> Result<(), Fatal> {
        let config = self.serve.resolve().map_err(wrong)?;
        // In memory: looked at, nothing made.
        let keys = Keys::load(&config.keys, &DataDir::Memory).map(drop);
        let www = config.www.as_deref().map(Www::open).transpose().map(drop);
        let configuration = keys.and(www).map_err(wrong);
        say(match &configuration {
            Ok(()) => "configuration: sound".to_owned(),
            Err(fatal) => format!("configuration: PROBLEM: {fatal}"),
        })?;
        let DataDir::Folder(folder) = &config.data_dir else {
            say("store: in memory, nothing to check")?;
            return configuration;
        };
        let found = store::check(folder)?;
        if let Some(pid) = &found.holder {
            say(format_args!("store: in use by process {pid}"))?;
        }
        say(format_args!("store: {}", found.summary()))?;
        for problem in &found.problems {
            say(format_args!("store: PROBLEM: {problem}"))?;
        }
        if found.problems.is_empty() {
            say("store: sound")?;
            return configuration;
        }
        Err(Fatal::new(format!(
            "the store in {} has problems (above); put a backup back with `tautline-relay restore --force`",
            folder.display()
        )))
    }
}
