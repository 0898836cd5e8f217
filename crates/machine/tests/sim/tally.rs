//! How often things happened: a simulation in which nothing did would prove nothing.

use tautline_machine::client::Answer;
use tautline_protocol::ErrorCode;

/// Some two in a thousand schedules come to it.
const SLOW: &str = "connections closed for being slow";

macro_rules! tally {
    ($($field:ident: $what:expr,)*) => {
        /// Counts of a schedule, or of many.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Tally { $(pub $field: u64,)* }

        impl Tally {
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }

            /// Each count with what it counts.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$(($what, self.$field),)*]
            }

            /// Every kind of trouble and every way out of it was taken.
            pub fn assert_everything_happened(&self, schedules: u64) {
                for (what, count) in self.rows() {
                    let rare = what == SLOW && schedules < 10_000;
                    assert!(rare || count > 0, "no schedule had any {what}: the simulation has gone blind");
                }
            }
        }
    };
}

tally! {
    steps: "steps",
    events: "events delivered to pages",
    commands: "commands sent by pages",
    posts: "requests of the back end by HTTP",
    posts_lost: "requests lost on the way",
    answers_lost: "answers lost on the way back",
    posts_again: "requests sent again",
    posts_doubled: "requests doubled on the way",
    acks: "commands acked",
    acks_shown: "acks that waited to be shown",
    nacks: "commands refused",
    expired: "commands that waited too long",
    timed_out: "requests timed out",
    full_outboxes: "commands refused by a full outbox",
    commits: "commits",
    commits_of_many: "commits of several commands",
    store_failures: "refused commits",
    full: "commits refused by a full disk",
    broken: "stores broken at a commit",
    histories: "new histories under live connections",
    kills: "relays killed",
    restarts_with_last_write: "restarts with the last write",
    restarts_without_last_write: "restarts without the last write",
    drains: "drains",
    rushes: "rushes at the back end",
    failovers: "standbys restored from a backup",
    cuts: "cuts",
    half_opened: "half-open connections",
    stalls: "stalls",
    frames_lost: "lost messages",
    frames_repeated: "repeated messages",
    freezes: "pages frozen",
    cached: "pages in the back/forward cache",
    crashes: "pages crashed",
    adopted: "commands taken over from pages that crashed",
    unwritten: "writes that a page's storage refused",
    unborn: "commands that a crash took before they were stored",
    clock_jumps: "page clocks jumped",
    wall_jumps: "wall clocks jumped",
    tokens_ended: "tokens ended by an operator",
    tokens_ran_out: "connections closed at their token's end",
    disposed_early: "pages disposed early",
    resumes: "resumes seen by pages",
    resumed: "placements resumed",
    not_resumed: "placements anew",
    snapshots: "snapshots installed",
    archived: "archivings",
    gaps: "gaps told",
    stale: "stale told",
    fresh: "fresh told",
    duplicates: "duplicates dropped",
    stale_inputs: "inputs of old connections dropped",
    cursor_frames: "cursor frames received",
    accounts: "cursor frames with a heartbeat",
    filters: "filters taken up",
    rescopes: "renewals that changed the role",
    renewals_refused: "renewals refused",
    role_changes: "changes of role",
    store_reads: "reads from the store",
    blocked: "blocked sockets",
    slow_closes: SLOW,
    leases: "leases granted",
    old_events: "events delivered to plain pages",
    old_syncs: "snapshots of plain pages",
    health_probes: "health probes",
}

impl Tally {
    pub fn answered(&mut self, answer: &Answer) {
        match answer {
            Answer::Acked { .. } | Answer::Confirmed { .. } => self.acks += 1,
            Answer::Nacked { .. } => self.nacks += 1,
            Answer::Failed { code, .. } => match code {
                ErrorCode::OutboxExpired => self.expired += 1,
                ErrorCode::RequestTimeout => self.timed_out += 1,
                _ => {}
            },
            Answer::Written => {}
        }
    }
}
