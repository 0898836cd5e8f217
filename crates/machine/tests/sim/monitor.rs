//! One connection as the wire sees it, at the relay's edge: each frame it sends is held against the protocol and against
//! what [`crate::oracle`] makes of the disk (`docs/protocol.md` §1).

use crate::check::holds;
use crate::oracle::{Eyes, Wanted};
use crate::relay::{Disk, who};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

const FRAME_MOST: usize = 256 * 1024;
const PART_MOST: usize = 128 * 1024;
const TURN_EVENTS: usize = 64;
const TURN_BYTES: usize = 128 * 1024;
const LEEWAY_MS: u64 = 30_000;

struct Parts {
    sync_id: String,
    epoch: String,
    seq: u64,
    parts: u64,
    next: u64,
    orders: BTreeMap<String, Rc<Value>>,
    /// The first of the eyes that it may have been made for.
    since: usize,
}

/// Eyes and where they begin.
struct Look {
    /// They look at what comes after it.
    from: u64,
    /// Up to here those before may have looked still: where a change came between the client's position and the head.
    until: u64,
    /// The `subscribe` that is not answered yet: until it is, either may look.
    asked: Option<String>,
    eyes: Eyes,
}

pub struct Monitor {
    opened: u64,
    heard_at: u64,
    greeted: bool,
    /// The `auth` in hand, first or renewal.
    auths: VecDeque<Value>,
    refused: bool,
    renewals_refused: u64,
    plain: bool,
    /// Who looks, in order of time.
    looks: Vec<Look>,
    epoch: String,
    /// Where the client is; nowhere before its snapshot.
    at: Option<u64>,
    /// Where a sync that the client asked for may take it back to.
    rewind: Option<u64>,
    parts: Option<Parts>,
    /// The eyes that the next snapshot may be for begin here.
    since: usize,
    owes_snapshot: bool,
    /// Frames with an id that are not answered yet.
    asked: BTreeMap<String, VecDeque<Value>>,
    nacked_for_rate: u64,
    ends: Option<u64>,
    closed: bool,
    /// The code that the driver told the session to close with.
    pub allowed: Option<u16>,
}

impl Monitor {
    pub fn new(now: u64) -> Self {
        Self {
            opened: now,
            heard_at: now,
            greeted: false,
            auths: VecDeque::new(),
            refused: false,
            renewals_refused: 0,
            plain: true,
            looks: Vec::new(),
            epoch: String::new(),
            at: None,
            rewind: None,
            parts: None,
            since: 0,
            owes_snapshot: false,
            asked: BTreeMap::new(),
            nacked_for_rate: 0,
            ends: None,
            closed: false,
            allowed: None,
        }
    }

    fn is_live(&self) -> bool {
        !self.looks.is_empty()
    }

    /// Whose eyes these are now.
    pub fn eyes(&self) -> Option<&Eyes> {
        self.looks.last().map(|look| &look.eyes)
    }

    /// A message of the client's reached the session.
    pub fn heard(&mut self, text: &str, now: u64) {
        self.heard_at = now;
        let frame: Value = serde_json::from_str(text).expect("clients speak JSON");
        let frames = match frame {
            Value::Array(frames) => frames,
            frame => vec![frame],
        };
        for frame in frames {
            if frame["type"] == "auth" {
                self.auths.push_back(frame);
                continue;
            }
            if frame["type"] == "orders:sync" {
                self.rewind = frame["payload"]["seq"].as_u64();
                self.since = self.looks.len().saturating_sub(1);
            }
            if let Some(id) = frame["id"].as_str().filter(|_| !self.plain) {
                let id = id.to_owned();
                self.subscribes(&id, &frame);
                self.asked.entry(id).or_default().push_back(frame);
            }
        }
    }

    /// Another filter is asked for. The relay takes it up at once; its answer, which says where it begins, may wait for
    /// others before it.
    fn subscribes(&mut self, id: &str, frame: &Value) {
        let wanted = match frame["type"].as_str() {
            Some("subscribe") => Wanted::read(&frame["payload"]),
            Some("unsubscribe") => Wanted::default(),
            _ => return,
        };
        let Some(mut eyes) = self.eyes().cloned() else {
            return;
        };
        eyes.wanted = wanted;
        self.looks.push(Look {
            from: self.at.unwrap_or(0),
            until: u64::MAX,
            asked: Some(id.to_owned()),
            eyes,
        });
    }

    pub fn pong(&mut self, now: u64) {
        self.heard_at = now;
    }

    /// One turn: what the cursor gave, in one write.
    pub fn turn(&self, messages: &[Rc<Vec<Rc<Value>>>], bytes: usize) {
        let events = messages.iter().flat_map(|message| message.iter());
        let events = events.filter(|frame| is_event(frame)).count();
        holds!(
            "bounded",
            events <= TURN_EVENTS,
            "a turn of {events} events"
        );
        holds!(
            "bounded",
            bytes <= TURN_BYTES + 256 || events == 1,
            "a turn of {bytes} bytes and {events} events"
        );
        holds!(
            "bounded",
            self.plain || messages.len() <= 2,
            "a turn of {} messages",
            messages.len()
        );
    }

    /// A message leaves the relay: its frames, held against the protocol.
    pub fn sent(&mut self, text: &str, disk: &Disk, now: u64) -> Rc<Vec<Rc<Value>>> {
        holds!(
            "bounded",
            text.len() <= FRAME_MOST,
            "a frame of {} bytes",
            text.len()
        );
        holds!("close", !self.closed, "{text} after the close frame");
        let frame: Value = serde_json::from_str(text)
            .unwrap_or_else(|error| panic!("[greeting] not JSON: {error}: {text}"));
        let frames = match frame {
            Value::Array(frames) => {
                holds!("greeting", self.is_live() && !self.plain, "a batch: {text}");
                frames
            }
            frame => vec![frame],
        };
        for frame in &frames {
            self.frame(frame, text.len(), disk, now);
        }
        Rc::new(frames.into_iter().map(Rc::new).collect())
    }

    fn frame(&mut self, frame: &Value, bytes: usize, disk: &Disk, now: u64) {
        let kind = frame["type"].as_str().unwrap_or_default();
        let first = !std::mem::replace(&mut self.greeted, true);
        holds!("greeting", first == (kind == "connected"), "{frame}");
        match kind {
            "connected" => {}
            "auth:success" if frame["renewal"] == true => self.renewed(frame, disk, now),
            "auth:success" => self.admitted(frame, disk, now),
            "auth:failed" => {
                holds!(
                    "greeting",
                    self.auths.pop_front().is_some(),
                    "{frame} to nothing"
                );
                if frame["renewal"] == true {
                    self.renewals_refused += 1;
                } else {
                    self.refused = true;
                }
            }
            _ => {
                holds!("greeting", self.is_live(), "{frame} before auth:success");
                self.live(kind, frame, bytes, disk);
            }
        }
    }

    fn admitted(&mut self, frame: &Value, disk: &Disk, now: u64) {
        let Some(auth) = self.auths.pop_front().filter(|_| !self.is_live()) else {
            panic!("[greeting] {frame} to no first auth");
        };
        let v1 = auth["protocol"] == "tautline.v1";
        self.plain = !v1;
        holds!(
            "greeting",
            (frame["protocol"] == "tautline.v1") == v1,
            "{frame} to {auth}"
        );
        let wanted = if v1 {
            Wanted::read(&auth["subscribe"])
        } else {
            Wanted::default()
        };
        let eyes = who(auth["token"].as_str().unwrap(), wanted, self.plain);
        let head = disk.history.head();
        holds!(
            "greeting",
            frame["role"] == eyes.role.as_str()
                && frame["user_id"] == eyes.sub.as_str()
                && frame["epoch"] == disk.epoch()
                && frame["seq"] == head,
            "{frame} for {eyes:?} at {head} of {}",
            disk.epoch()
        );
        self.epoch = disk.epoch().to_owned();
        self.ends = frame["expires_in_ms"].as_u64().map(|life| now + life);
        let resume = &auth["resume"];
        if frame["resumed"] == true {
            let from = resume["seq"].as_u64().unwrap_or(u64::MAX);
            holds!(
                "order",
                v1 && resume["epoch"] == self.epoch.as_str() && from <= head,
                "{frame} resumes {auth}"
            );
            self.at = Some(from);
        } else {
            self.owes_snapshot = v1 && auth["sync"] == true;
            self.at = (!self.owes_snapshot).then_some(head);
        }
        self.looks.push(Look {
            from: 0,
            until: 0,
            asked: None,
            eyes,
        });
    }

    fn renewed(&mut self, frame: &Value, disk: &Disk, now: u64) {
        let Some(auth) = self.auths.pop_front().filter(|_| self.is_live()) else {
            panic!("[greeting] {frame} to no renewal");
        };
        holds!(
            "greeting",
            frame["epoch"].is_null() && frame["seq"].is_null() && frame["resumed"].is_null(),
            "{frame}"
        );
        self.ends = frame["expires_in_ms"].as_u64().map(|life| now + life);
        let wanted = self.eyes().unwrap().wanted.clone();
        let eyes = who(auth["token"].as_str().unwrap(), wanted, self.plain);
        holds!(
            "greeting",
            frame["role"] == eyes.role.as_str(),
            "{frame} for {eyes:?}"
        );
        if self.eyes() != Some(&eyes) {
            let head = disk.history.head();
            self.looks.push(Look {
                from: self.at.unwrap_or(head),
                until: head,
                asked: None,
                eyes,
            });
            self.since = self.looks.len() - 1;
            self.owes_snapshot = true;
        }
    }

    fn live(&mut self, kind: &str, frame: &Value, bytes: usize, disk: &Disk) {
        match kind {
            "pong" => {
                let head = disk.history.head();
                holds!(
                    "order",
                    self.plain || frame["payload"]["seq"] == head,
                    "{frame} at {head}"
                );
            }
            "ack" => self.ack(frame, disk),
            "nack" => self.nack(frame, disk),
            "error" => {
                if frame["ref_type"] == "auth" {
                    let too_soon = self.auths.pop_back();
                    holds!("reply", too_soon.is_some(), "{frame} to nothing");
                }
            }
            "cursor" => self.cursor(frame, disk),
            "reset" => self.reset(frame, disk),
            "sync_aborted" => {
                let aborted = self.parts.take();
                holds!(
                    "snapshot",
                    aborted.is_some_and(|parts| frame["sync_id"] == parts.sync_id.as_str()),
                    "{frame} aborts nothing"
                );
                self.owes_snapshot = true;
            }
            "sync_complete" if frame["payload"]["status"] == "resumed" => {
                let payload = &frame["payload"];
                holds!(
                    "order",
                    payload["epoch"] == self.epoch.as_str() && payload["seq"].as_u64() == self.at,
                    "{frame} at {:?}",
                    self.at
                );
                holds!(
                    "order",
                    self.rewind.is_none_or(|from| Some(from) >= self.at),
                    "{frame}: nothing came after {:?}",
                    self.rewind
                );
                self.rewind = None;
            }
            "sync_complete" => self.part(&frame["payload"], bytes, disk),
            _ => {
                holds!("order", is_event(frame), "an unknown frame {frame}");
                self.event(frame, disk);
            }
        }
    }

    fn event(&mut self, frame: &Value, disk: &Disk) {
        let seq = frame["seq"].as_u64().unwrap();
        holds!(
            "durable",
            seq <= disk.history.head(),
            "event {seq} is sent and not on the disk"
        );
        holds!(
            "snapshot",
            self.parts.is_none(),
            "event {seq} between parts"
        );
        holds!(
            "order",
            frame["epoch"] == self.epoch.as_str(),
            "event {seq} of {} in {}",
            frame["epoch"],
            self.epoch
        );
        let Some(at) = self.at else {
            panic!("[order] event {seq} before the snapshot");
        };
        let at = self.take_back(at, seq);
        if self.plain {
            holds!("order", seq > at, "event {seq} after {at}");
            for skipped in at + 1..seq {
                self.is_hidden(skipped, disk, "visible");
            }
        } else {
            holds!("order", seq == at + 1, "event {seq} after {at}");
        }
        let mut shown = false;
        for look in self.looks.iter().rev().filter(|look| look.from < seq) {
            shown = disk
                .history
                .shown(seq, &look.eyes)
                .is_some_and(|shown| *shown == *frame);
            if shown || look.asked.is_none() {
                break;
            }
        }
        holds!(
            "visible",
            shown,
            "{frame} is sent to {:?}, for which it is {:?}",
            self.eyes(),
            self.eyes().map(|eyes| disk.history.shown(seq, eyes))
        );
        self.at = Some(seq);
    }

    /// The client's position, taken back once where a sync asked for it.
    fn take_back(&mut self, at: u64, next: u64) -> u64 {
        match self.rewind {
            Some(from) if from < at && next <= at => {
                self.rewind = None;
                // What comes again is looked at with the eyes of now.
                if let Some(look) = self.looks.last_mut() {
                    look.from = look.from.min(from);
                }
                from
            }
            _ => at,
        }
    }

    fn is_hidden(&self, seq: u64, disk: &Disk, name: &str) {
        let mut hidden = false;
        for look in self.looks.iter().rev() {
            hidden = look.from < seq && disk.history.shown(seq, &look.eyes).is_none();
            if hidden || seq > look.until {
                break;
            }
        }
        assert!(
            hidden,
            "[{name}] event {seq}, {:?}, was skipped, and is for {:?}",
            disk.history.frame(seq),
            self.eyes()
        );
    }

    fn cursor(&mut self, frame: &Value, disk: &Disk) {
        let (from, to) = (
            frame["from"].as_u64().unwrap(),
            frame["seq"].as_u64().unwrap(),
        );
        holds!("cursor", !self.plain, "{frame} in plain");
        holds!("snapshot", self.parts.is_none(), "{frame} between parts");
        holds!(
            "cursor",
            frame["epoch"] == self.epoch.as_str(),
            "{frame} in {}",
            self.epoch
        );
        let Some(at) = self.at else {
            panic!("[cursor] {frame} before the snapshot");
        };
        let at = self.take_back(at, from + 1);
        holds!("cursor", from == at && to > from, "{frame} at {at}");
        holds!(
            "durable",
            to <= disk.history.head(),
            "{frame} beyond the head"
        );
        for seq in from + 1..=to {
            self.is_hidden(seq, disk, "cursor");
        }
        self.at = Some(to);
    }

    fn reset(&mut self, frame: &Value, disk: &Disk) {
        holds!(
            "order",
            !self.plain
                && frame["epoch"] == disk.epoch()
                && frame["epoch"] != self.epoch.as_str()
                && frame["seq"] == disk.history.head(),
            "{frame} in {} at {} of {}",
            self.epoch,
            disk.history.head(),
            disk.epoch()
        );
        holds!(
            "snapshot",
            self.parts.is_none(),
            "{frame} between parts, not aborted"
        );
        self.epoch = disk.epoch().to_owned();
        self.at = None;
        self.rewind = None;
        self.since = self.looks.len() - 1;
        self.owes_snapshot = true;
    }

    fn part(&mut self, payload: &Value, bytes: usize, disk: &Disk) {
        holds!("bounded", bytes <= PART_MOST, "a part of {bytes} bytes");
        let number = |name: &str| payload[name].as_u64().unwrap_or_default();
        let (seq, part, parts) = (number("seq"), number("part"), number("parts"));
        let (sync_id, epoch) = (payload["sync_id"].as_str(), payload["epoch"].as_str());
        let (sync_id, epoch) = (sync_id.unwrap_or_default(), epoch.unwrap_or_default());
        if self.plain && epoch == disk.epoch() && epoch != self.epoch {
            // Nothing announces another history to those who know nothing of histories.
            self.epoch = epoch.to_owned();
            self.at = None;
        }
        holds!(
            "order",
            epoch == self.epoch,
            "a snapshot of {epoch} in {}",
            self.epoch
        );
        holds!(
            "snapshot",
            self.at.is_none_or(|at| seq >= at) && seq <= disk.history.head(),
            "a snapshot at {seq}, the client is at {:?}",
            self.at
        );
        if part == 1 {
            self.parts = Some(Parts {
                sync_id: sync_id.to_owned(),
                epoch: epoch.to_owned(),
                seq,
                parts,
                next: 1,
                orders: BTreeMap::new(),
                since: self.since,
            });
        }
        let Some(under_way) = &mut self.parts else {
            panic!("[snapshot] part {part} of {parts}, of {sync_id}, without the first");
        };
        holds!(
            "snapshot",
            under_way.sync_id == sync_id
                && under_way.epoch == epoch
                && under_way.seq == seq
                && under_way.parts == parts
                && under_way.next == part
                && part <= parts,
            "part {part} of {parts} of {sync_id} at {seq}, after {} of {} of {} at {}",
            under_way.next - 1,
            under_way.parts,
            under_way.sync_id,
            under_way.seq
        );
        under_way.next += 1;
        for order in payload["orders"].as_array().into_iter().flatten() {
            let id = order["id"].as_str().unwrap_or_default().to_owned();
            let twice = under_way.orders.insert(id, Rc::new(order.clone()));
            holds!("snapshot", twice.is_none(), "{order} twice in a snapshot");
        }
        if part < parts {
            return;
        }
        let Some(whole) = self.parts.take() else {
            return;
        };
        let is_set = |look: &Look| disk.history.set_at(seq, &look.eyes) == whole.orders;
        let since = whole.since.min(self.looks.len() - 1);
        if !self.looks[since..].iter().any(is_set) {
            let eyes = self.eyes().unwrap();
            let right = disk.history.set_at(seq, eyes);
            let ids: BTreeSet<&String> = right.keys().chain(whole.orders.keys()).collect();
            let wrong: Vec<_> = ids
                .into_iter()
                .map(|id| (id, whole.orders.get(id), right.get(id)))
                .filter(|(_, sent, right)| sent != right)
                .collect();
            panic!("[snapshot] at {seq} for {eyes:?}: sent, and right: {wrong:?}");
        }
        self.at = Some(seq);
        self.rewind = None;
        self.since = self.looks.len() - 1;
        self.owes_snapshot = false;
    }

    fn answered(&mut self, frame: &Value) -> Value {
        let id = frame["id"].as_str().unwrap_or_default();
        let asked = self.asked.get_mut(id).and_then(VecDeque::pop_front);
        if self.asked.get(id).is_some_and(VecDeque::is_empty) {
            self.asked.remove(id);
        }
        asked.unwrap_or_else(|| panic!("[reply] {frame} answers nothing that was asked"))
    }

    fn ack(&mut self, frame: &Value, disk: &Disk) {
        let id = frame["id"].as_str().unwrap_or_default().to_owned();
        let asked = self.answered(frame);
        let seq = frame["payload"]["seq"].as_u64();
        match asked["type"].as_str().unwrap_or_default() {
            kind @ ("subscribe" | "unsubscribe") => {
                let wanted = if kind == "subscribe" {
                    Wanted::read(&asked["payload"])
                } else {
                    Wanted::default()
                };
                let told = Wanted::read(&frame["payload"]["result"]);
                holds!(
                    "reply",
                    seq.is_some_and(|seq| seq <= disk.history.head()) && told.is(&wanted),
                    "{frame} to {asked}"
                );
                let mut looks = self.looks.iter_mut();
                let look = looks.find(|look| look.asked.as_ref() == Some(&id)).unwrap();
                (look.from, look.until, look.asked) = (seq.unwrap(), seq.unwrap(), None);
            }
            "orders:sync" => {}
            _ => {
                holds!(
                    "durable",
                    disk.has_command(&id),
                    "{frame} to what is not on the disk"
                );
                if let Some(seq) = seq {
                    let event = disk.history.frame(seq);
                    holds!(
                        "reply",
                        event.is_some_and(|event| event["command_id"] == id.as_str()
                            && event["epoch"] == frame["payload"]["epoch"]),
                        "{frame} names {event:?}"
                    );
                }
            }
        }
    }

    fn nack(&mut self, frame: &Value, disk: &Disk) {
        let id = frame["id"].as_str().unwrap_or_default().to_owned();
        let asked = self.answered(frame);
        let error = &frame["error"];
        let code = error["code"].as_str().unwrap_or_default();
        self.nacked_for_rate += u64::from(code == "rate_limited");
        if asked["type"] == "orders:sync" {
            self.rewind = None;
        }
        if let Some(at) = self
            .looks
            .iter()
            .position(|look| look.asked.as_ref() == Some(&id))
        {
            let (gone, before) = (
                self.looks.remove(at),
                self.looks[at - 1].eyes.wanted.clone(),
            );
            for look in &mut self.looks[at..] {
                if look.asked.is_none() && look.eyes.wanted == gone.eyes.wanted {
                    look.eyes.wanted.clone_from(&before);
                }
            }
        }
        // One that was not looked at may have been applied the first time it came.
        let unread = matches!(code, "rate_limited" | "overloaded" | "id_reused");
        holds!(
            "reply",
            unread || error["outcome"] != "not_applied" || !disk.has_command(&id),
            "{frame}, yet it is on the disk"
        );
    }

    /// The session closes its socket.
    pub fn closes(&mut self, code: u16, blocked: Option<u64>, now: u64) {
        holds!(
            "close",
            !std::mem::replace(&mut self.closed, true),
            "closed twice"
        );
        let due = match code {
            4001 => self.ends.is_some_and(|ends| now >= ends + LEEWAY_MS),
            1008 | 4003 => !self.is_live() && (self.refused || self.auths.is_empty()),
            4009 => !self.is_live() && now >= self.opened + 10_000,
            4008 => blocked.is_some(),
            4029 => self.nacked_for_rate >= 199,
            _ => false,
        };
        holds!(
            "close",
            due || self.allowed == Some(code),
            "closed {code} at {now}: opened {}, token until {:?}, renewals refused {}",
            self.opened,
            self.ends,
            self.renewals_refused
        );
    }

    /// The session cuts the connection.
    pub fn cuts(&self, now: u64) {
        holds!(
            "close",
            self.closed || now >= self.heard_at + 30_000,
            "cut at {now}, heard at {}",
            self.heard_at
        );
    }

    /// Nothing is overdue.
    pub fn looks(&self, now: u64) {
        if self.closed {
            return;
        }
        holds!(
            "close",
            self.ends.is_none_or(|ends| now <= ends + LEEWAY_MS + 5),
            "still open at {now}, the token ran out at {:?}",
            self.ends
        );
        holds!(
            "close",
            self.is_live() || now <= self.opened + 10_005,
            "still open at {now}, not authenticated since {}",
            self.opened
        );
    }

    /// After quiet nothing is owed.
    pub fn settled(&self, head: u64) {
        if self.closed || !self.is_live() {
            return;
        }
        holds!(
            "reply",
            self.asked.is_empty(),
            "never answered: {:?}",
            self.asked
        );
        holds!(
            "snapshot",
            self.parts.is_none() && (self.plain || !self.owes_snapshot),
            "a snapshot is owed or half sent"
        );
        holds!(
            "current",
            self.plain || self.at == Some(head),
            "the connection was taken to {:?} of {head}",
            self.at
        );
    }
}

/// Whether a frame is an event of the log.
pub fn is_event(frame: &Value) -> bool {
    let kind = frame["type"].as_str().unwrap_or_default();
    frame["seq"].is_u64() && frame["payload"].is_object() && !matches!(kind, "cursor" | "reset")
}
