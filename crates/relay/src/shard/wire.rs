//! The bytes of a turn that many connections are sent, kept so that a send copies nothing where the system lets it.
//!
//! From a file in memory `sendfile` gives the socket the very pages, whereas each `write` has the system copy them for
//! its connection: half of what a delivery costs, and as many copies in memory as there are slow readers. Where there is
//! no such file (another system, no descriptor left), the bytes are written.

use crate::socket::Socket;
use crate::ws;
use bytes::{BufMut, BytesMut};
use std::io;
use tautline_machine::relay::Message;

/// Bytes from which a file is worth its making, and connections that must want it: measured, `docs/decisions/0023`.
const WORTH_BYTES: usize = 16 * 1024;
const WORTH_READERS: usize = 16;

/// One or several frames of the wire, to be sent as they are.
#[derive(Debug)]
pub(super) struct Wire {
    len: usize,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    Bytes(Box<[u8]>),
    #[cfg(target_os = "linux")]
    File(file::InMemory),
}

impl Wire {
    /// Messages in frames; about how many connections will be sent them.
    pub(super) fn new(messages: &[Message], readers: usize) -> Self {
        let len = messages.iter().map(|message| message.len + 10).sum();
        let mut out = BytesMut::with_capacity(len);
        for message in messages {
            ws::data_header(&mut out, message.len);
            for piece in &message.pieces {
                out.put_slice(piece.as_str().as_bytes());
            }
        }
        Self {
            len: out.len(),
            kept: Kept::new(&out, readers),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Sends what the socket takes now, from this byte on.
    ///
    /// # Errors
    /// The connection is broken, or takes nothing now.
    pub(super) fn send(&self, from: usize, socket: &Socket) -> io::Result<usize> {
        match &self.kept {
            Kept::Bytes(bytes) => socket.try_write(bytes.get(from..).unwrap_or_default()),
            #[cfg(target_os = "linux")]
            Kept::File(file) => file.send(from, self.len, socket),
        }
    }
}

impl Kept {
    fn new(bytes: &[u8], readers: usize) -> Self {
        #[cfg(target_os = "linux")]
        if bytes.len() >= WORTH_BYTES
            && readers >= WORTH_READERS
            && let Some(file) = file::InMemory::holding(bytes)
        {
            return Self::File(file);
        }
        Self::Bytes(bytes.into())
    }
}

#[cfg(target_os = "linux")]
mod file {
    use crate::socket::Socket;
    use rustix::fs::{MemfdFlags, memfd_create, sendfile};
    use std::fs::File;
    use std::io::{self, Write};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Files at a time: descriptors are for connections first.
    const MANY: usize = 64;

    static OPEN: AtomicUsize = AtomicUsize::new(0);

    /// On the count while it lives.
    #[derive(Debug)]
    struct Counted;

    impl Counted {
        fn new() -> Option<Self> {
            // Made first: one too many is taken off again when it is dropped.
            let counted = Self;
            (OPEN.fetch_add(1, Ordering::Relaxed) < MANY).then_some(counted)
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            OPEN.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A file without a name or a disk. What it holds never changes: sockets may still refer to its pages.
    #[derive(Debug)]
    pub(super) struct InMemory {
        file: File,
        _counted: Counted,
    }

    impl InMemory {
        pub(super) fn holding(bytes: &[u8]) -> Option<Self> {
            let counted = Counted::new()?;
            let file = memfd_create("turn", MemfdFlags::CLOEXEC).ok()?;
            let mut file = File::from(file);
            file.write_all(bytes).ok()?;
            Some(Self {
                file,
                _counted: counted,
            })
        }

        pub(super) fn send(&self, from: usize, len: usize, socket: &Socket) -> io::Result<usize> {
            let mut at = from as u64;
            socket.try_write_by(|| Ok(sendfile(socket, &self.file, Some(&mut at), len - from)?))
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn so_many_turns_are_files_and_one_that_is_gone_makes_room() {
            let take = || InMemory::holding(b"turn");
            let held: Vec<_> = std::iter::from_fn(take).take(2 * MANY).collect();
            assert!((1..=MANY).contains(&held.len()), "{}", held.len());
            assert!(take().is_none());
            drop(held);
            assert!(take().is_some());
        }
    }
}
