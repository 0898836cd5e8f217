//! The real binary, real sockets, real files.

mod cli;
mod closes;
mod durable;
mod goodbye;
mod http_api;
mod leaks;
mod live_order;
mod support;
