//! A test run whose lines are shown as they come, and read.

use crate::{cargo, root};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// Runs `cargo` with these words; `figure` is told what stands behind `mark` on each line that has it. Whether it passed.
pub(crate) fn test(
    words: &str,
    environment: &[(&str, &str)],
    mark: &str,
    mut figure: impl FnMut(&str),
) -> bool {
    let child = cargo(words)
        .envs(environment.iter().copied())
        .current_dir(root())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            eprintln!("cannot run cargo: {error}");
            return false;
        }
    };
    for line in child
        .stdout
        .take()
        .into_iter()
        .flat_map(|out| BufReader::new(out).lines().map_while(Result::ok))
    {
        println!("{line}");
        // The runner's own words may stand before it.
        if let Some((_, said)) = line.split_once(mark) {
            figure(said);
        }
    }
    child.wait().is_ok_and(|status| status.success())
}
