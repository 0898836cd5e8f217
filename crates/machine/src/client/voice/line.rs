//! What waits for the data channel: first in, first out, never more in its buffer than the high water mark, and no
//! message that would close it.

use super::io::Failure;
use std::collections::VecDeque;
use tautline_protocol::ErrorCode;
use tautline_protocol::limits::{CLIENT_CHANNEL_HIGH, CLIENT_CHANNEL_QUEUE};

/// The queue of one call's channel.
#[derive(Debug, Default)]
pub(super) struct Line {
    queue: VecDeque<String>,
    bytes: usize,
    /// What the other side takes; 0 while the channel is not open.
    max_message: usize,
    /// What the browser holds.
    buffered: usize,
    /// Nothing leaves until the buffer has run low.
    full: bool,
}

impl Line {
    pub(super) fn opened(&mut self, max_message: usize) {
        self.max_message = max_message;
    }

    pub(super) fn is_open(&self) -> bool {
        self.max_message > 0
    }

    /// The channel is gone, and with it what waited for it.
    pub(super) fn close(&mut self) {
        *self = Self::default();
    }

    /// Whether a message of that size can be taken.
    pub(super) fn admits(&self, bytes: usize) -> Result<(), Box<Failure>> {
        if !self.is_open() {
            return Err(Failure::new(
                ErrorCode::ConnectFailed,
                "there is no call to send it in; connect() first",
            ));
        }
        if bytes > self.max_message {
            return Err(Failure::new(
                ErrorCode::MessageTooLarge,
                "the event is larger than the other side takes in one message",
            ));
        }
        if self.bytes + bytes > CLIENT_CHANNEL_QUEUE {
            return Err(Failure::new(
                ErrorCode::OutboxFull,
                "too much waits for the data channel; send it later",
            ));
        }
        Ok(())
    }

    /// Takes a message that [`Line::admits`].
    pub(super) fn push(&mut self, text: String) {
        self.bytes += text.len();
        self.queue.push_back(text);
    }

    /// What the browser's buffer holds now.
    pub(super) fn buffered(&mut self, bytes: usize) {
        self.buffered = bytes;
    }

    /// The buffer has run low, to so much.
    pub(super) fn drained(&mut self, bytes: usize) {
        self.full = false;
        self.buffered = bytes;
    }

    /// The next message that may leave.
    pub(super) fn next(&mut self) -> Option<String> {
        let bytes = self.queue.front()?.len();
        // An empty buffer takes anything, or a message as large as the mark would never leave.
        if self.buffered > 0 && self.buffered + bytes > CLIENT_CHANNEL_HIGH {
            self.full = true;
        }
        if self.full {
            return None;
        }
        self.bytes -= bytes;
        self.queue.pop_front()
    }

    /// A second has passed and the buffer holds that: the browser's event may not have come, for a buffer that was
    /// never over the low mark.
    pub(super) fn look(&mut self, bytes: usize) {
        self.buffered = bytes;
        if bytes == 0 {
            self.full = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tautline_protocol::limits::CLIENT_CHANNEL_LOW;

    #[test]
    fn an_over_size_message_is_refused_before_it_is_sent() {
        let mut line = Line::default();
        assert_eq!(line.admits(1).unwrap_err().code, ErrorCode::ConnectFailed);
        line.opened(1_000);
        assert!(line.admits(1_000).is_ok());
        assert_eq!(
            line.admits(1_001).unwrap_err().code,
            ErrorCode::MessageTooLarge
        );
        line.opened(CLIENT_CHANNEL_QUEUE);
        line.push("x".repeat(CLIENT_CHANNEL_QUEUE));
        assert_eq!(line.admits(1).unwrap_err().code, ErrorCode::OutboxFull);
    }

    proptest! {
        #[test]
        fn whatever_is_sent_arrives_in_order_under_the_high_mark(
            sizes in prop::collection::vec(1usize..200_000, 1..80),
            drains in prop::collection::vec(1usize..150_000, 1..20),
        ) {
            let mut line = Line::default();
            line.opened(262_144);
            for (n, &size) in sizes.iter().enumerate() {
                let mut text = format!("{n:04}");
                while text.len() < size.max(4) { text.push('x'); }
                if line.admits(text.len()).is_ok() { line.push(text); }
            }
            let count = line.queue.len();
            let (mut buffer, mut seen, mut turns) = (0usize, Vec::new(), 0);
            while seen.len() < count {
                turns += 1;
                prop_assert!(turns < 10_000, "stuck at {} of {count}", seen.len());
                while let Some(text) = line.next() {
                    buffer += text.len();
                    prop_assert!(buffer <= CLIENT_CHANNEL_HIGH || buffer == text.len());
                    seen.push(text[..4].parse::<usize>().unwrap());
                    line.buffered(buffer);
                }
                let before = buffer;
                buffer = buffer.saturating_sub(drains[turns % drains.len()]);
                // The browser's event: from above the low mark to it or below.
                if before > CLIENT_CHANNEL_LOW && buffer <= CLIENT_CHANNEL_LOW { line.drained(buffer); }
                line.look(buffer);
            }
            prop_assert!(seen.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
