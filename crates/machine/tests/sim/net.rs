//! The network: one connection is two ordered, delayed streams that may be cut, stalled, or go silent for good.

use crate::monitor::is_event;
use serde_json::Value;
use std::collections::VecDeque;
use std::rc::Rc;

/// What a page's browser sends.
#[derive(Clone, Debug)]
pub enum Up {
    Handshake,
    Text(String),
    Pong,
    Close,
}

/// What the relay sends.
#[derive(Clone, Debug)]
pub enum Down {
    Opened,
    /// The frames of one message, and its bytes.
    Frames(Rc<Vec<Rc<Value>>>, usize),
    Ping,
    Close(u16, String),
    /// The stream broke, or the port refused.
    Broken,
}

#[derive(Debug)]
pub struct Link {
    pub page: usize,
    pub attempt: u32,
    /// The relay at its other end.
    pub site: usize,
    pub up: VecDeque<(u64, Up)>,
    pub down: VecDeque<(u64, Down)>,
    /// Nothing gets through any more, and nobody is told.
    pub half_open: bool,
    /// The page's browser has closed its end.
    pub page_closed: bool,
    /// The relay has closed its end.
    pub relay_closed: bool,
    /// The page has crashed: nothing reaches anybody there.
    pub dead: bool,
    pub latency_ms: u64,
    /// The next message with events will be lost, or come twice.
    pub mangles: Option<bool>,
}

impl Link {
    pub fn new(page: usize, attempt: u32, site: usize, latency_ms: u64) -> Self {
        Self {
            page,
            attempt,
            site,
            up: VecDeque::new(),
            down: VecDeque::new(),
            half_open: false,
            page_closed: false,
            relay_closed: false,
            dead: false,
            latency_ms,
            mangles: None,
        }
    }

    pub fn send_up(&mut self, now: u64, jitter: u64, what: Up) {
        let at = self
            .up
            .back()
            .map_or(0, |&(at, _)| at)
            .max(now + self.latency_ms + jitter);
        self.up.push_back((at, what));
    }

    pub fn send_down(&mut self, now: u64, jitter: u64, what: Down) {
        let at = self
            .down
            .back()
            .map_or(0, |&(at, _)| at)
            .max(now + self.latency_ms + jitter);
        self.down.push_back((at, what));
    }

    /// Holds everything under way back until `until`.
    pub fn stall(&mut self, until: u64) {
        for (at, _) in &mut self.up {
            *at = (*at).max(until);
        }
        for (at, _) in &mut self.down {
            *at = (*at).max(until);
        }
        self.latency_ms = self.latency_ms.max(1);
    }

    /// Bytes on their way to the page: what a socket's buffers hold.
    pub fn down_bytes(&self) -> usize {
        self.down
            .iter()
            .map(|(_, what)| {
                if let Down::Frames(_, bytes) = what {
                    *bytes
                } else {
                    0
                }
            })
            .sum()
    }

    pub fn next_at(&self) -> Option<u64> {
        if self.half_open {
            return None;
        }
        let (up, down) = (
            self.up.front().map(|&(at, _)| at),
            self.down.front().map(|&(at, _)| at),
        );
        up.into_iter().chain(down).min()
    }

    pub fn is_over(&self) -> bool {
        self.page_closed && self.relay_closed
    }
}

/// Whether a message has events, or says which were not for this connection.
pub fn has_events(what: &Down) -> bool {
    let counts = |frame: &Rc<Value>| is_event(frame) || frame["type"] == "cursor";
    matches!(what, Down::Frames(frames, _) if frames.iter().any(counts))
}
