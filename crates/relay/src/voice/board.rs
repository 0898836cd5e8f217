//! Who is in a voice session: counts for the bounds, the operators' view, and the lines by which a session is reached.

use super::{Control, Ending, Line};
use crate::clock::Clock;
use crate::limit;
use crate::revoked::Revocation;
use crate::shard::Owner;
use crate::token::Identity;
use serde::Serialize;
use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tautline_machine::Time;
use tautline_protocol::limits::{self, hit};
use tautline_protocol::permission::{self, Case, Operation};
use tautline_protocol::{Role, is_command_id};

/// Whom a session speaks for.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) identity: Identity,
    pub(crate) restaurant: String,
}

impl Who {
    /// Customers and kiosks have few sessions each.
    fn person(&self) -> Option<(String, String)> {
        matches!(self.identity.role, Role::Customer | Role::Kiosk)
            .then(|| (self.restaurant.clone(), self.identity.sub.clone()))
    }
}

struct Entry {
    who: Who,
    /// Whose place it was counted as when it was taken; a renewed token may have another role.
    person: Option<(String, String)>,
    transport: &'static str,
    since: Time,
    heard: Arc<AtomicU64>,
    line: Line,
}

#[derive(Default)]
struct Known {
    sessions: HashMap<Arc<str>, Entry>,
    restaurants: HashMap<String, usize>,
    people: HashMap<(String, String), usize>,
    /// The last that ended, and whose they were.
    over: VecDeque<(Arc<str>, Who)>,
}

/// Sessions remembered after their end.
const OVER: usize = 256;

/// See the module.
pub(crate) struct Board {
    known: Mutex<Known>,
    clock: Clock,
}

/// A session as `GET /api/v1/sessions` shows it.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    id: String,
    kind: &'static str,
    restaurant_id: String,
    user_id: String,
    role: &'static str,
    protocol: &'static str,
    transport: &'static str,
    /// Nothing of the log is sent to it.
    lag: u64,
    /// Since something last came from its client.
    last_frame_ms: u64,
    age_ms: u64,
    stalled: bool,
}

/// There are as many sessions as may be: the row, and whether it is this caller's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full(pub(crate) &'static str);

/// Whether a caller may end a session, or follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// There is none of that id, for this caller.
    None,
    /// It is somebody else's.
    Forbidden,
    /// Yes.
    May,
}

fn leave<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) {
    if let Slot::Occupied(mut slot) = counts.entry(key) {
        *slot.get_mut() = slot.get().saturating_sub(1);
        if *slot.get() == 0 {
            slot.remove();
        }
    }
}

impl Board {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            known: Mutex::default(),
            clock: Clock::start(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a session, if there is one.
    pub(crate) fn seat(
        self: &Arc<Self>,
        id: &str,
        who: &Who,
        transport: &'static str,
        line: Line,
    ) -> Result<Seat, Full> {
        let full = |row| {
            limit::hit(row);
            Err(Full(row))
        };
        let mut known = self.known();
        if known.sessions.len() >= limits::VOICE_SESSIONS {
            return full(hit::VOICE_SESSIONS);
        }
        let of = known.restaurants.get(&who.restaurant).copied();
        if of.unwrap_or(0) >= limits::VOICE_RESTAURANT {
            return full(hit::VOICE_RESTAURANT);
        }
        let person = who.person();
        if let Some(person) = &person
            && known.people.get(person).copied().unwrap_or(0) >= limits::VOICE_PERSON
        {
            return full(hit::VOICE_PERSON);
        }
        *known.restaurants.entry(who.restaurant.clone()).or_default() += 1;
        if let Some(person) = person.clone() {
            *known.people.entry(person).or_default() += 1;
        }
        let (id, now): (Arc<str>, _) = (id.into(), self.clock.now());
        let heard = Arc::new(AtomicU64::new(now.as_ms()));
        let entry = Entry {
            who: who.clone(),
            person,
            transport,
            since: now,
            heard: Arc::clone(&heard),
            line,
        };
        known.sessions.insert(Arc::clone(&id), entry);
        metrics::gauge!("tautline_voice_sessions", "transport" => transport).increment(1.0);
        tracing::info!(call = %id, restaurant = who.restaurant, transport, "voice session begins");
        Ok(Seat {
            board: Arc::clone(self),
            id,
            transport,
            heard,
            ending: None,
        })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.known().sessions.len()
    }

    /// Those of the restaurants that `may_see` allows.
    pub(crate) fn views(&self, may_see: impl Fn(&str) -> bool) -> Vec<View> {
        let now = self.clock.now();
        let known = self.known();
        let mut views: Vec<_> = known
            .sessions
            .iter()
            .filter(|(_, entry)| may_see(&entry.who.restaurant))
            .map(|(id, entry)| View {
                id: id.to_string(),
                kind: "voice",
                restaurant_id: entry.who.restaurant.clone(),
                user_id: entry.who.identity.sub.clone(),
                role: entry.who.identity.role.as_str(),
                protocol: "realtime",
                transport: entry.transport,
                lag: 0,
                last_frame_ms: now - Time::from_ms(entry.heard.load(Ordering::Relaxed)),
                age_ms: now - entry.since,
                stalled: false,
            })
            .collect();
        views.sort_by(|a, b| a.id.cmp(&b.id));
        views
    }

    /// Who holds sessions, of the restaurants that `may_see` allows.
    pub(crate) fn owners(&self, may_see: impl Fn(&str) -> bool) -> Vec<Owner> {
        let mut owners = BTreeMap::<(String, String), Owner>::new();
        for entry in self.known().sessions.values() {
            let (who, name) = (&entry.who, &entry.who.identity.sub);
            if may_see(&who.restaurant) {
                let owner = owners
                    .entry((who.restaurant.clone(), name.clone()))
                    .or_insert_with(|| Owner {
                        kind: "voice",
                        restaurant_id: who.restaurant.clone(),
                        name: name.clone(),
                        count: 0,
                        lag: 0,
                    });
                owner.count += 1;
            }
        }
        owners.into_values().collect()
    }

    /// Ends one of a restaurant that `may_see` allows; whether there was one.
    pub(crate) fn close(&self, id: &str, ending: Ending, may_see: impl Fn(&str) -> bool) -> bool {
        let line = {
            let known = self.known();
            let entry = known.sessions.get(id);
            entry
                .filter(|entry| may_see(&entry.who.restaurant))
                .map(|entry| Arc::clone(&entry.line))
        };
        line.map(|line| line(Control::End(ending))).is_some()
    }

    /// What a caller may do with a session, by the permission table.
    pub(crate) fn reach(&self, id: &str, caller: &Who) -> Reach {
        let known = self.known();
        let Some(entry) = known.sessions.get(id) else {
            return Reach::None;
        };
        // Of another restaurant's sessions nobody learns that they are there.
        if entry.who.restaurant != caller.restaurant {
            return Reach::None;
        }
        let case = Case {
            own: entry.who.identity.sub == caller.identity.sub,
            ..Case::default()
        };
        if permission::rule(caller.identity.role, Operation::EndCall).allows(case) {
            Reach::May
        } else {
            Reach::Forbidden
        }
    }

    /// Whether one of this caller's own has just ended: to hang up then is no mistake, the peer was seen to go first.
    pub(crate) fn is_over(&self, id: &str, caller: &Who) -> bool {
        self.known().over.iter().any(|(over, who)| {
            **over == *id
                && who.restaurant == caller.restaurant
                && who.identity.sub == caller.identity.sub
        })
    }

    /// How one is reached.
    pub(crate) fn line(&self, id: &str) -> Option<Line> {
        let known = self.known();
        known.sessions.get(id).map(|entry| Arc::clone(&entry.line))
    }

    fn end_those(&self, ending: Ending, which: impl Fn(&Who) -> bool) -> usize {
        let lines: Vec<_> = {
            let known = self.known();
            let those = known.sessions.values().filter(|entry| which(&entry.who));
            those.map(|entry| Arc::clone(&entry.line)).collect()
        };
        for line in &lines {
            line(Control::End(ending));
        }
        lines.len()
    }

    /// Ends the sessions of revoked tokens; how many.
    pub(crate) fn revoke(&self, revocation: &Revocation) -> usize {
        self.end_those(Ending::REVOKED, |who| {
            let identity = &who.identity;
            revocation.means(&who.restaurant, &identity.sub, identity.issued_at_ms)
        })
    }

    /// Ends all of them.
    pub(crate) fn end_all(&self, ending: Ending) -> usize {
        self.end_those(ending, |_| true)
    }
}

/// A session's place; dropping it gives it back, whatever the reason.
pub(crate) struct Seat {
    board: Arc<Board>,
    id: Arc<str>,
    transport: &'static str,
    heard: Arc<AtomicU64>,
    ending: Option<Ending>,
}

impl Seat {
    pub(crate) fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Something came from its client.
    pub(crate) fn heard(&self) {
        self.heard
            .store(self.board.clock.now().as_ms(), Ordering::Relaxed);
    }

    /// Its client has shown a newer token.
    pub(crate) fn renewed(&self, identity: Identity) {
        if let Some(entry) = self.board.known().sessions.get_mut(&self.id) {
            entry.who.identity = identity;
        }
    }

    /// Why it ends; the first reason holds.
    pub(crate) fn ends(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
    }

    /// Why it ends.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.ending
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let gone = {
            let mut known = self.board.known();
            let mut gone = known.sessions.remove(&self.id);
            if let Some(entry) = &mut gone {
                leave(&mut known.restaurants, entry.who.restaurant.clone());
                if let Some(person) = entry.person.take() {
                    leave(&mut known.people, person);
                }
                known.over.truncate(OVER - 1);
                known
                    .over
                    .push_front((Arc::clone(&self.id), entry.who.clone()));
            }
            gone
        };
        let ending = if std::thread::panicking() {
            metrics::counter!("tautline_session_panics_total").increment(1);
            Ending::PANIC
        } else {
            self.ending.unwrap_or(Ending::TRANSPORT)
        };
        ending.limit.into_iter().for_each(limit::hit);
        metrics::gauge!("tautline_voice_sessions", "transport" => self.transport).decrement(1.0);
        metrics::counter!("tautline_voice_ended_total", "reason" => ending.reason).increment(1);
        let age_ms = gone.map_or(0, |entry| self.board.clock.now() - entry.since);
        tracing::info!(call = %self.id, reason = ending.reason, age_ms, "voice session ends");
    }
}

/// A call's id: `rtc_` and 26 letters.
pub(crate) fn call_id() -> String {
    format!("rtc_{}", crate::ids::random_id())
}

/// Whether a text may be one.
pub(crate) fn is_id(text: &str) -> bool {
    is_command_id(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Scope;

    fn who(sub: &str, role: Role, restaurant: &str) -> Who {
        Who {
            identity: Identity {
                sub: sub.into(),
                role,
                scope: Scope::One(restaurant.into()),
                expires_at_ms: 0,
                issued_at_ms: Some(5),
                order_ids: Arc::default(),
            },
            restaurant: restaurant.into(),
        }
    }

    fn nobody() -> Line {
        Arc::new(|_| {})
    }

    #[test]
    fn of_those_that_ended_only_the_last_are_remembered() {
        let board = Board::new();
        let server = who("bob", Role::Server, "grow");
        for n in 0..OVER + 10 {
            drop(board.seat(&format!("rtc_{n}"), &server, "webrtc", nobody()));
        }
        let known = board.known();
        assert_eq!((known.over.len(), known.sessions.len()), (OVER, 0));
        assert_eq!(&*known.over[0].0, format!("rtc_{}", OVER + 9));
    }

    #[test]
    fn seats_are_bounded_and_given_back() {
        let board = Board::new();
        let mut n = 0;
        let mut seat = |who: &Who| {
            n += 1;
            board.seat(&format!("rtc_{n}"), who, "webrtc", nobody())
        };
        let ann = who("ann", Role::Customer, "grow");
        let held: Vec<_> = (0..limits::VOICE_PERSON)
            .map(|_| seat(&ann).unwrap())
            .collect();
        assert_eq!(seat(&ann).err(), Some(Full(hit::VOICE_PERSON)));
        assert!(seat(&who("ann", Role::Customer, "other")).is_ok());
        let server = who("bob", Role::Server, "grow");
        let mut many: Vec<_> = (held.len()..limits::VOICE_RESTAURANT)
            .map(|_| seat(&server).unwrap())
            .collect();
        assert_eq!(seat(&server).err(), Some(Full(hit::VOICE_RESTAURANT)));
        let other = who("bob", Role::Server, "other");
        many.extend(
            (limits::VOICE_RESTAURANT..limits::VOICE_SESSIONS).map(|_| seat(&other).unwrap()),
        );
        let third = who("bob", Role::Server, "third");
        assert_eq!(seat(&third).err(), Some(Full(hit::VOICE_SESSIONS)));
        drop((held, many));
        let known = board.known();
        assert!(known.sessions.is_empty() && known.restaurants.is_empty());
        assert!(known.people.is_empty());
    }

    #[test]
    fn a_place_is_given_back_as_it_was_taken_whoever_holds_it_by_then() {
        let board = Board::new();
        let (ann, promoted) = (Role::Customer, Role::Server);
        let (ann, promoted) = (who("ann", ann, "grow"), who("ann", promoted, "grow"));
        let seats: Vec<_> = [&ann, &promoted]
            .map(|who| board.seat(who.identity.role.as_str(), who, "webrtc", nobody()))
            .into_iter()
            .map(Result::unwrap)
            .collect();
        // Each gets the other's token.
        seats[0].renewed(promoted.identity.clone());
        seats[1].renewed(ann.identity.clone());
        let counted = || board.known().people.values().copied().collect::<Vec<_>>();
        assert_eq!(counted(), [1]);
        let [customers, servers] = <[Seat; 2]>::try_from(seats).ok().unwrap();
        drop(servers);
        assert_eq!(counted(), [1]);
        drop(customers);
        assert!(board.known().people.is_empty());
    }

    #[test]
    fn who_may_end_a_session() {
        let board = Board::new();
        let ann = who("ann", Role::Customer, "grow");
        let _seat = board.seat("rtc_1", &ann, "webrtc", nobody()).unwrap();
        let reach = |who: &Who| board.reach("rtc_1", who);
        assert_eq!(reach(&ann), Reach::May);
        for (role, may) in [
            (Role::Customer, Reach::Forbidden),
            (Role::Kiosk, Reach::Forbidden),
            (Role::Server, Reach::Forbidden),
            (Role::Kitchen, Reach::Forbidden),
            (Role::Manager, Reach::May),
            (Role::Service, Reach::May),
        ] {
            assert_eq!(reach(&who("bob", role, "grow")), may, "{role:?}");
            assert_eq!(reach(&who("ann", role, "other")), Reach::None);
        }
        assert_eq!(reach(&who("ann", Role::Kitchen, "grow")), Reach::Forbidden);
        assert_eq!(board.reach("rtc_2", &ann), Reach::None);
    }

    #[test]
    fn a_revocation_ends_whom_it_means() {
        let board = Board::new();
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let line: Line = Arc::new(move |control| {
            let _ = told.send(control);
        });
        let ann = who("ann", Role::Server, "grow");
        let _seat = board.seat("rtc_1", &ann, "webrtc", line).unwrap();
        let of = |sub: &str, before| Revocation::new("grow".into(), sub.into(), before);
        assert_eq!(
            board.revoke(&of("bob", 10)) + board.revoke(&of("ann", 5)),
            0
        );
        assert_eq!(board.revoke(&of("ann", 6)), 1);
        assert!(matches!(
            heard.try_recv(),
            Ok(Control::End(Ending::REVOKED))
        ));
    }

    /// The predecessor walked through all sessions at each event. `cargo xtask lookups` takes the figures.
    #[test]
    fn defect_o_n_look_up() {
        const LOOKS: usize = 200_000;
        for many in [10, 100, 1_000, 10_000] {
            let board = Board::new();
            let ids: Vec<Arc<str>> = (0..many).map(|n| format!("rtc_{n}").into()).collect();
            for id in &ids {
                let entry = Entry {
                    person: None,
                    who: who("ann", Role::Server, "grow"),
                    transport: "webrtc",
                    since: board.clock.now(),
                    heard: Arc::default(),
                    line: nobody(),
                };
                board.known().sessions.insert(Arc::clone(id), entry);
            }
            let began = std::time::Instant::now();
            for look in 0..LOOKS {
                // A step that shares no factor with how many there are meets all of them.
                assert!(board.line(&ids[look * 7 % many]).is_some());
            }
            let ns = began.elapsed().as_nanos() / LOOKS as u128;
            println!("lookups: {many} {ns}");
        }
    }
}
