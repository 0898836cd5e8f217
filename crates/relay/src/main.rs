//! The relay's command line.

use clap::{Parser, Subcommand};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;
use tautline_protocol::Role;
use tautline_relay::config::{DataDir, KeyArgs, ServeArgs};
use tautline_relay::token::{Keys, Scope};
use tautline_relay::upkeep::{BackupArgs, CheckArgs, ExportArgs, ImportArgs, RestoreArgs};
use tautline_relay::{Fatal, say, serve};

/// A turn makes and drops hundreds of small blocks; glibc's `malloc` took a twelfth of the relay's CPU
/// (`perf` during `npm run bench -- fanout`; `docs/decisions/0033`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tautline's relay: live orders for every screen of a restaurant.
#[derive(Parser)]
#[command(name = "tautline-relay", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the relay
    Serve(Box<ServeArgs>),
    /// Print a token
    Token(Box<TokenArgs>),
    /// Copy the whole store to one file; a relay may be running on it
    Backup(BackupArgs),
    /// Put a backup into a data folder; no relay may be running on it. Every restaurant begins a new epoch
    Restore(RestoreArgs),
    /// Write one restaurant's live set and history as lines of JSON; a relay may be running
    Export(ExportArgs),
    /// Take in what `export` wrote; no relay may be running. The restaurant begins a new epoch
    Import(ImportArgs),
    /// Look at configuration and store, with the flags of `serve`: exit 0 when all is well
    Check(Box<CheckArgs>),
}

#[derive(clap::Args)]
struct TokenArgs {
    /// The restaurant's id; `*` for all, with the role service only. May be repeated
    #[arg(long, required = true, value_name = "ID")]
    restaurant: Vec<String>,
    /// customer, kiosk, server, kitchen, manager or service
    #[arg(long, value_parser = role)]
    role: Role,
    /// Whom the token names [default: cli-<role>]
    #[arg(long)]
    sub: Option<String>,
    /// How long it lives
    #[arg(long, default_value = "12h", value_parser = tautline_relay::parse_duration)]
    ttl: Duration,
    /// Folder of the store, where --dev keeps its secret
    #[arg(
        long,
        env = "TAUTLINE_DATA_DIR",
        value_name = "DIR",
        default_value = "./data"
    )]
    data_dir: std::path::PathBuf,
    #[command(flatten)]
    keys: KeyArgs,
}

fn role(name: &str) -> Result<Role, String> {
    Role::parse(name).ok_or_else(|| format!("\"{name}\" is not a role"))
}

fn token(args: TokenArgs) -> Result<(), Fatal> {
    if let Some(bad) = args.restaurant.iter().find(|id| {
        !(tautline_protocol::is_restaurant_id(id) || *id == "*" && args.role == Role::Service)
    }) {
        return Err(Fatal::usage(format!(
            "--restaurant {bad}: not a restaurant id, and * is for the role service only"
        )));
    }
    let data_dir = DataDir::from(Some(args.data_dir));
    if args.keys.dev && data_dir == DataDir::Memory {
        return Err(Fatal::usage(
            "--dev with --data-dir :memory: keeps its secret inside the running relay; ask its /dev/token",
        ));
    }
    let keys = Keys::load(&args.keys, &data_dir)?;
    let sub = args
        .sub
        .unwrap_or_else(|| format!("cli-{}", args.role.as_str()));
    let mut restaurants = args.restaurant;
    let scope = if restaurants.len() == 1 {
        Scope::One(restaurants.swap_remove(0))
    } else {
        Scope::Several(restaurants)
    };
    say(keys.issue(&sub, args.role, scope, args.ttl)?)
}

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Serve(args) => args.resolve().and_then(serve),
        Command::Token(args) => token(*args),
        Command::Backup(args) => args.run(),
        Command::Restore(args) => args.run(),
        Command::Export(args) => args.run(),
        Command::Import(args) => args.run(),
        Command::Check(args) => args.run(),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => {
            if !fatal.message.is_empty() {
                // Where it cannot be written the status still says it.
                let _ = writeln!(io::stderr(), "tautline-relay: {fatal}");
            }
            ExitCode::from(fatal.status)
        }
    }
}
