//! Somebody else answers: `--upstream openai`. The relay speaks to it with its own key, which no browser, log or error
//! ever shows.

mod client;
mod error;
mod line;
mod watched;

pub(crate) use client::Client;
pub(crate) use error::Trouble;
pub(crate) use line::Line;
pub(crate) use watched::Watched;
