//! All of the pool's rules at once, against members that fail at random.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tautline_protocol::Outcome;

/// A relay, and members that behave as clients do: they keep their position and what they have not had an answer to.
struct World {
    rig: Rig,
    head: Seq,
    members: Vec<Page>,
    applied: BTreeMap<String, u32>,
    sent: BTreeSet<String>,
    answered: BTreeMap<String, u32>,
    /// The last event that the page knows of.
    last: Option<Seq>,
    delivered: u64,
    suspended: bool,
}

#[derive(Default)]
struct Page {
    wanted: bool,
    position: Option<Seq>,
    /// What the relay has sent and has not arrived.
    line: Option<VecDeque<Seq>>,
    outbox: Vec<(String, bool)>,
}

/// Of every third event the filter lets nothing through.
fn is_shown(seq: Seq) -> bool {
    !seq.is_multiple_of(3)
}

#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    Arrive(usize, usize),
    Cut(usize),
    Reconnect(usize, bool),
    Process(usize, bool),
    Pong(usize, u64),
    Pass(u64),
    Send(u8),
    Cancel(usize),
    GiveUp(usize),
    Suspend(bool),
    Disconnect,
    Connect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..5u64).prop_map(Step::Append),
        6 => (0..4usize, 1..5usize).prop_map(|(n, count)| Step::Arrive(n, count)),
        2 => (0..4usize).prop_map(Step::Cut),
        4 => (0..4usize, prop::bool::weighted(0.85)).prop_map(|(n, keeps)| Step::Reconnect(n, keeps)),
        4 => (0..4usize, any::<bool>()).prop_map(|(n, acks)| Step::Process(n, acks)),
        4 => (0..4usize, 1..300u64).prop_map(|(n, rtt)| Step::Pong(n, rtt)),
        3 => (1..7_000u64).prop_map(Step::Pass),
        4 => (0..3u8).prop_map(Step::Send),
        1 => (0..20usize).prop_map(Step::Cancel),
        1 => (0..4usize).prop_map(Step::GiveUp),
        1 => any::<bool>().prop_map(Step::Suspend),
        1 => Just(Step::Disconnect),
        1 => Just(Step::Connect),
    ]
}

impl World {
    fn new(config: PoolConfig) -> Self {
        let members = (0..config.members).map(|_| Page::default()).collect();
        Self {
            rig: Rig::new(config),
            head: 10,
            members,
            applied: BTreeMap::new(),
            sent: BTreeSet::new(),
            answered: BTreeMap::new(),
            last: None,
            delivered: 0,
            suspended: false,
        }
    }

    fn input(&mut self, input: PoolInput) {
        let out = self.rig.input(input);
        self.perform(out);
    }

    fn perform(&mut self, out: Vec<PoolOutput>) {
        for output in out {
            match output {
                PoolOutput::Open(id, from) => {
                    let page = &mut self.members[id.0 as usize];
                    page.wanted = true;
                    if let (None, Some((_, seq))) = (&page.line, from) {
                        page.position = Some(seq);
                    }
                }
                PoolOutput::Close(id) => {
                    let page = &mut self.members[id.0 as usize];
                    page.wanted = false;
                    page.line = None;
                }
                PoolOutput::Give(to, command) => {
                    let views = self.rig.views();
                    let healthy = views.iter().any(|view| view.healthy);
                    let of = &views[to.0 as usize];
                    assert_eq!(of.state, ConnectionState::Connected);
                    assert!(of.healthy || !healthy, "given to one that is not healthy");
                    assert!(of.pending <= CLIENT_IN_FLIGHT);
                    let page = &mut self.members[to.0 as usize];
                    let id = command.id.expect("an id");
                    assert!(page.outbox.iter().all(|(known, _)| *known != id));
                    page.outbox.push((id, page.line.is_some()));
                }
                PoolOutput::Withdraw(from, id) => {
                    let outbox = &mut self.members[from.0 as usize].outbox;
                    if let Some(at) = outbox.iter().position(|(known, _)| *known == id) {
                        let (_, written) = outbox.remove(at);
                        let outcome = if written {
                            Outcome::Unknown
                        } else {
                            Outcome::NotSent
                        };
                        self.input(PoolInput::Withdrawn(id, outcome));
                    }
                }
                PoolOutput::Settled(id, _) => self.answer(id),
                PoolOutput::Tell(PoolNotice::Gap { from, to }) => {
                    assert_eq!(self.last, Some(from), "a gap begins where the page is");
                    self.last = Some(to);
                }
                PoolOutput::Settle(..) | PoolOutput::Tell(_) | PoolOutput::Wait(_) => {}
            }
        }
        let most = QUEUE + self.members.len() * CLIENT_IN_FLIGHT;
        assert!(self.rig.pool.stats().queued <= most);
    }

    fn answer(&mut self, id: String) {
        *self.answered.entry(id).or_default() += 1;
    }

    fn arrive(&mut self, n: usize) {
        let page = &mut self.members[n];
        let Some(seq) = page.line.as_mut().and_then(VecDeque::pop_front) else {
            return;
        };
        page.position = Some(seq);
        if is_shown(seq) && self.rig.pool.event(m(n as u32), Some(seq)) {
            let last = self.last.expect("a place");
            assert!(seq > last, "{seq} after {last}");
            assert!(
                (last + 1..seq).all(|missed| !is_shown(missed)),
                "{last} and then {seq}"
            );
            self.last = Some(seq);
            self.delivered += 1;
        }
    }

    fn reconnect(&mut self, n: usize, keeps: bool) {
        let page = &mut self.members[n];
        if !page.wanted || page.line.is_some() || self.suspended {
            return;
        }
        let from = page.position.filter(|_| keeps).unwrap_or(self.head);
        page.position = Some(from);
        page.line = Some((from + 1..=self.head).collect());
        // Whatever it has not had an answer to is written again.
        page.outbox
            .iter_mut()
            .for_each(|(_, written)| *written = true);
        self.last.get_or_insert(from);
        self.input(PoolInput::Up(m(n as u32), Some(place("e1", from))));
    }

    fn process(&mut self, n: usize, acks: bool) {
        let page = &mut self.members[n];
        if page.line.is_none() || page.outbox.is_empty() {
            return;
        }
        let id = page.outbox[0].0.clone();
        *self.applied.entry(id.clone()).or_default() = 1;
        if acks {
            page.outbox.remove(0);
            self.answer(id.clone());
            self.input(PoolInput::Answered(id));
        }
    }

    fn step(&mut self, step: &Step) {
        let count = self.members.len();
        match *step {
            Step::Append(events) => {
                for _ in 0..events {
                    self.head += 1;
                    for line in self
                        .members
                        .iter_mut()
                        .filter_map(|page| page.line.as_mut())
                    {
                        line.push_back(self.head);
                    }
                }
            }
            Step::Arrive(n, events) => (0..events).for_each(|_| self.arrive(n % count)),
            Step::Cut(n) | Step::GiveUp(n) => {
                let n = n % count;
                if self.members[n].line.take().is_some() {
                    let id = m(n as u32);
                    self.input(match step {
                        Step::Cut(_) => PoolInput::Down(id),
                        _ => PoolInput::GaveUp(id),
                    });
                }
            }
            Step::Reconnect(n, keeps) => self.reconnect(n % count, keeps),
            Step::Process(n, acks) => self.process(n % count, acks),
            Step::Pong(n, rtt) => self.input(PoolInput::Pong(m((n % count) as u32), rtt)),
            Step::Pass(ms) => {
                let out = self.rig.pass(ms);
                self.perform(out);
            }
            Step::Send(priority) => {
                let priority = [Priority::High, Priority::Normal, Priority::Low][priority as usize];
                let waits = self.rig.pool.stats().queued;
                match self.rig.pool.send(command(), priority, self.rig.now) {
                    Ok(id) => assert!(self.sent.insert(id)),
                    Err(failure) => {
                        assert_eq!(failure.code, ErrorCode::OutboxFull);
                        assert!(waits >= QUEUE);
                    }
                }
                let out = self.rig.drain();
                self.perform(out);
            }
            Step::Cancel(nth) => {
                if let Some(id) = self.sent.iter().nth(nth) {
                    self.rig.pool.cancel(id);
                    let out = self.rig.drain();
                    self.perform(out);
                }
            }
            Step::Suspend(suspended) => {
                self.suspended = suspended;
                self.input(PoolInput::Suspended(suspended));
                for n in 0..count {
                    if suspended && self.members[n].line.take().is_some() {
                        self.input(PoolInput::Down(m(n as u32)));
                    }
                }
            }
            Step::Disconnect => self.input(PoolInput::Disconnect),
            Step::Connect => self.input(PoolInput::Connect(WaiterId(1))),
        }
    }

    /// Everything is well again, and stays so.
    fn heal(&mut self) {
        self.step(&Step::Suspend(false));
        self.input(PoolInput::Connect(WaiterId(2)));
        for _ in 0..60 {
            for n in 0..self.members.len() {
                self.reconnect(n, true);
                while self.members[n]
                    .line
                    .as_ref()
                    .is_some_and(|line| !line.is_empty())
                {
                    self.arrive(n);
                }
                while self.members[n].line.is_some() && !self.members[n].outbox.is_empty() {
                    self.process(n, true);
                }
                if self.members[n].line.is_some() {
                    self.input(PoolInput::Pong(m(n as u32), 20));
                }
            }
            let out = self.rig.pass(CHECK / 2);
            self.perform(out);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Whatever fails: each command is settled once, each event delivered once and in order, or said to be missed; nothing is
    /// given to who is not healthy where somebody is; and when all is well nothing is left.
    #[test]
    fn members_that_fail_at_random(
        members in 1..5usize,
        max_connections in 1..4usize,
        failover in any::<bool>(),
        balancing in 0..3u8,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let balancing = [Balancing::HealthBased, Balancing::RoundRobin, Balancing::LeastPending][balancing as usize];
        let mut world = World::new(PoolConfig { max_connections, failover, balancing, ..config(members) });
        for step in &steps {
            world.step(step);
        }
        world.heal();
        for id in &world.sent {
            prop_assert_eq!(world.answered.get(id), Some(&1), "{} is settled once", id);
        }
        prop_assert_eq!(world.answered.len(), world.sent.len());
        let stats = world.rig.pool.stats();
        prop_assert_eq!((stats.queued, stats.pending, stats.settled), (0, 0, world.sent.len() as u64));
        let last = world.last.expect("a place");
        prop_assert!((last + 1..=world.head).all(|seq| !is_shown(seq)), "the page is at {} of {}", last, world.head);
        prop_assert_eq!(stats.events, world.delivered);
        world.input(PoolInput::Dispose);
        prop_assert_eq!(world.rig.wait, None);
    }
}
