use std::fmt;
use std::io::{self, Write};

/// Why the program ends: one clear sentence for standard error, and the exit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fatal {
    /// The sentence.
    pub message: String,
    /// 1; 2 for wrong usage; 75 when the runner is meant to start the relay again.
    pub status: u8,
}

impl Fatal {
    /// Something about the machine or the data is in the way.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            status: 1,
        }
    }

    /// The configuration does not make sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            status: 2,
        }
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fatal {}

/// A command's result, a line on standard output.
///
/// # Errors
/// It cannot be written: its reader has gone, or the disk is full.
pub fn say(line: impl fmt::Display) -> Result<(), Fatal> {
    writeln!(io::stdout(), "{line}")
        .map_err(|error| Fatal::new(format!("standard output cannot be written: {error}")))
}
