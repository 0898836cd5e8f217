//! What waits for the channel, or the socket: first in, first out, never more in its buffer than the high water mark, and
//! no message that would close it. Of what is spoken into a socket the newest seconds only: sound is worth nothing late.

use super::io::Failure;
use std::collections::VecDeque;
use tautline_protocol::ErrorCode;
use tautline_protocol::limits::{CLIENT_CHANNEL_HIGH, CLIENT_CHANNEL_QUEUE, CLIENT_SOUND_QUEUE};

/// A message, and whether it is a piece of sound.
type Waiting = (String, bool);

/// The queue of one call's channel.
#[derive(Debug, Default)]
pub(super) struct Line {
    queue: VecDeque<Waiting>,
    bytes: usize,
    /// Of these, sound.
    sound: usize,
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
        if self.bytes - self.sound + bytes > CLIENT_CHANNEL_QUEUE {
            return Err(Failure::new(
                ErrorCode::OutboxFull,
                "too much waits to be sent in this call; send it later",
            ));
        }
        Ok(())
    }

    /// Takes a message that [`Line::admits`].
    pub(super) fn push(&mut self, text: String) {
        self.bytes += text.len();
        self.queue.push_back((text, false));
    }

    /// Takes a piece of sound; answers how many are lost by it: older ones, or one that would close the channel.
    pub(super) fn push_sound(&mut self, text: String) -> u64 {
        if text.len() > self.max_message {
            return 1;
        }
        let mut lost = 0;
        while self.sound + text.len() > CLIENT_SOUND_QUEUE {
            let oldest = self.queue.iter().position(|(_, is_sound)| *is_sound);
            let Some((gone, _)) = oldest.and_then(|at| self.queue.remove(at)) else {
                break;
            };
            self.bytes -= gone.len();
            self.sound -= gone.len();
            lost += 1;
        }
        self.bytes += text.len();
        self.sound += text.len();
        self.queue.push_back((text, true));
        lost
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
        let bytes = self.queue.front()?.0.len();
        // An empty buffer takes anything, or a message as large as the mark would never leave.
        if self.buffered > 0 && self.buffered + bytes > CLIENT_CHANNEL_HIGH {
            self.full = true;
        }
        if self.full {
            return None;
        }
        let (text, is_sound) = self.queue.pop_front()?;
        self.bytes -= bytes;
        if is_sound {
            self.sound -= bytes;
        }
        Some(text)
    }

    /// Whether something waits for the buffer to run low.
    pub(super) fn is_full(&self) -> bool {
        self.full
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

    #[test]
    fn of_what_is_spoken_the_newest_is_kept_and_the_rest_is_counted() {
        let mut line = Line::default();
        line.opened(1 << 20);
        line.push("before".into());
        let piece = |n: usize| format!("{n:04}{}", "x".repeat(1_996));
        let fit = CLIENT_SOUND_QUEUE / 2_000;
        let lost: u64 = (0..fit + 3).map(|n| line.push_sound(piece(n))).sum();
        line.push("after".into());
        assert_eq!(lost, 3);
        let sent: Vec<String> = std::iter::from_fn(|| {
            let text = line.next();
            line.buffered(0);
            text
        })
        .collect();
        assert_eq!(sent.len(), fit + 2);
        assert!(sent[0] == "before" && sent[1].starts_with("0003") && sent[fit + 1] == "after");
        assert_eq!((line.bytes, line.sound), (0, 0));
        assert_eq!(line.push_sound("x".repeat((1 << 20) + 1)), 1);
        assert_eq!(line.next(), None);
    }

    proptest! {
        #[test]
        fn whatever_is_sent_arrives_in_order_under_the_high_mark(
            sizes in prop::collection::vec(1usize..200_000, 1..80),
            // As slow as the bound on turns allows for the largest queue.
            drains in prop::collection::vec(4_000usize..150_000, 1..20),
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
