//! What became of asking for a microphone, and what takes an unplugged one's place.

use super::call::{Phase, Voice};
use super::io::{Failure, MicId, Notice, Output};
use crate::Time;
use crate::client::WaiterId;
use tautline_protocol::{ErrorCode, Stage};

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The user, or the browser's settings, allow none.
    Denied,
    /// The user closed the browser's question.
    Dismissed,
    /// The page, or its frame, may not ask.
    Insecure,
    /// There is none.
    Missing,
    /// Something else has it.
    InUse,
    /// None is what was asked for.
    Overconstrained,
    /// Anything else.
    Failed,
}

impl Trouble {
    /// What a `DOMException` of `getUserMedia` means. Only its words tell a question closed from one answered with no.
    pub fn of(name: &str, message: &str) -> Self {
        match name {
            "NotAllowedError" | "PermissionDeniedError" if contains(message, "dismissed") => {
                Self::Dismissed
            }
            "NotAllowedError" | "PermissionDeniedError" => Self::Denied,
            "SecurityError" => Self::Insecure,
            "NotFoundError" | "DevicesNotFoundError" => Self::Missing,
            "NotReadableError" | "TrackStartError" | "AbortError" => Self::InUse,
            "OverconstrainedError" | "ConstraintNotSatisfiedError" => Self::Overconstrained,
            _ => Self::Failed,
        }
    }

    pub(super) fn failure(self) -> Box<Failure> {
        let (code, message) = match self {
            Self::Denied => (
                ErrorCode::MicrophoneDenied,
                "the microphone is not allowed; allow it for this page in the browser's settings",
            ),
            Self::Dismissed => (
                ErrorCode::MicrophoneDismissed,
                "the browser's question for the microphone was closed; ask again",
            ),
            Self::Insecure => (
                ErrorCode::InsecureContext,
                "browsers give microphones only to https: pages and localhost, and to frames with allow=\"microphone\"",
            ),
            Self::Missing => (
                ErrorCode::MicrophoneMissing,
                "there is no microphone; plug one in",
            ),
            Self::InUse => (
                ErrorCode::MicrophoneInUse,
                "the microphone cannot be read; does another program use it?",
            ),
            Self::Overconstrained => (
                ErrorCode::MicrophoneOverconstrained,
                "no microphone is what was asked for; see the `microphone` option and setMicrophoneDevice()",
            ),
            Self::Failed => (
                ErrorCode::MicrophoneFailed,
                "the microphone could not be had; `cause` is the browser's error",
            ),
        };
        Failure::new(code, message).at(Stage::Microphone)
    }
}

/// `str::contains` without the searcher, which costs the client kilobytes.
fn contains(text: &str, word: &str) -> bool {
    text.as_bytes()
        .windows(word.len())
        .any(|window| window == word.as_bytes())
}

/// The microphone of one connection; it outlives its calls.
#[derive(Debug, Default)]
pub(super) struct Microphone {
    last: u32,
    pub(super) state: MicState,
    /// The stream is the page's.
    pub(super) borrowed: bool,
    /// Another than the one that is wanted: it is gone for now.
    pub(super) fallback: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum MicState {
    #[default]
    None,
    Opening {
        id: MicId,
        any: bool,
        /// The last one is used until this one is there.
        held: Option<MicId>,
    },
    Held(MicId),
}

impl Microphone {
    /// A number for asking; what was asked before is late from now on.
    pub(super) fn open(&mut self, any: bool) -> MicId {
        self.last += 1;
        let id = MicId(self.last);
        self.state = MicState::Opening {
            id,
            any,
            held: self.held(),
        };
        id
    }

    /// The one whose sound is in use.
    pub(super) fn held(&self) -> Option<MicId> {
        match self.state {
            MicState::Held(id) => Some(id),
            MicState::Opening { held, .. } => held,
            MicState::None => None,
        }
    }

    pub(super) fn is_there(&self) -> bool {
        self.borrowed || self.held().is_some()
    }

    pub(super) fn is_opening(&self) -> bool {
        matches!(self.state, MicState::Opening { .. })
    }
}

impl Voice {
    pub(super) fn open_microphone(&mut self, any: bool) {
        let id = self.mic.open(any);
        self.out.push_back(Output::OpenMicrophone { id, any });
    }

    pub(super) fn release_microphone(&mut self, failure: &Failure) {
        // Also where there is none any more: the driver may still have one that has ended, and listen for devices.
        self.out.push_back(Output::ReleaseMicrophone);
        // A stream of the page's stays for the next call.
        if !self.mic.borrowed {
            self.mic.state = MicState::None;
        }
        self.mic.fallback = false;
        for waiter in std::mem::take(&mut self.mic_waiters) {
            self.settle(waiter, Err(Box::new(failure.clone())));
        }
    }

    pub(super) fn want_microphone(&mut self, waiter: WaiterId) {
        if self.mic.is_there() {
            return self.settle(waiter, Ok(()));
        }
        self.mic_waiters.push(waiter);
        if !self.mic.is_opening() {
            self.open_microphone(false);
        }
    }

    pub(super) fn borrowed(&mut self, lent: bool) {
        self.mic.borrowed = lent;
        self.mic.fallback = false;
        if lent {
            self.mic.state = MicState::Held(MicId(0));
            return self.microphone_there();
        }
        self.mic.state = MicState::None;
        // Whoever waits for another one waits on.
        if self.is_wanted() && self.config.microphone || !self.mic_waiters.is_empty() {
            self.open_microphone(false);
        }
    }

    pub(super) fn microphone_there(&mut self) {
        for waiter in std::mem::take(&mut self.mic_waiters) {
            self.settle(waiter, Ok(()));
        }
        if let Phase::Dialling(dial) = &self.phase {
            let call = dial.call;
            self.stage_done(call, Stage::Microphone, self.now);
        }
    }

    pub(super) fn microphone(&mut self, asked: MicId, result: Result<(), Trouble>, now: Time) {
        let MicState::Opening { id, any, held } = self.mic.state else {
            return;
        };
        if id != asked {
            return;
        }
        let trouble = match result {
            Ok(()) => {
                self.mic.state = MicState::Held(id);
                self.mic.borrowed = false;
                self.mic.fallback = any;
                return self.microphone_there();
            }
            Err(trouble) => trouble,
        };
        self.mic.state = held.map_or(MicState::None, MicState::Held);
        let failure = trouble.failure();
        let waiters = std::mem::take(&mut self.mic_waiters);
        let somebody_waits = !waiters.is_empty();
        for waiter in waiters {
            self.settle(waiter, Err(failure.clone()));
        }
        if held.is_some() {
            // The one in use stays.
            return;
        }
        match &self.phase {
            Phase::Dialling(dial) if !dial.is_done(Stage::Microphone) => {
                self.tell(Notice::MicrophoneDenied(failure.clone()));
                self.fail(failure, now);
            }
            _ if !self.is_wanted() => {
                if somebody_waits {
                    self.tell(Notice::MicrophoneDenied(failure));
                }
            }
            _ if !any => self.open_microphone(true),
            _ => {
                // The call goes on without; the next device that comes is taken.
                self.mic.fallback = true;
                self.tell(Notice::MicrophoneEnded { replaced: false });
                let ended = Failure::new(
                    ErrorCode::MicrophoneEnded,
                    "the microphone is gone and there is no other; plug one in",
                );
                self.tell(Notice::Error(ended));
            }
        }
    }

    pub(super) fn microphone_ended(&mut self, id: MicId) {
        if self.mic.held() != Some(id) {
            return;
        }
        if self.mic.borrowed {
            return self.tell(Notice::MicrophoneEnded { replaced: false });
        }
        if let MicState::Opening { held, .. } = &mut self.mic.state {
            // Another is asked for already.
            *held = None;
            return;
        }
        self.mic.state = MicState::None;
        let replaced = self.is_wanted();
        self.tell(Notice::MicrophoneEnded { replaced });
        if replaced {
            self.open_microphone(true);
        } else {
            self.out.push_back(Output::ReleaseMicrophone);
        }
    }

    /// The wanted microphone is back, or, where there is none, some microphone may be.
    pub(super) fn devices(&mut self, wanted: bool) {
        if !self.mic.fallback || self.mic.borrowed || self.mic.is_opening() || !self.is_wanted() {
            return;
        }
        if wanted {
            self.open_microphone(false);
        } else if !self.mic.is_there() {
            self.open_microphone(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_kind() {
        for (name, message, code) in [
            ("NotAllowedError", "Permission denied", "microphone_denied"),
            (
                "NotAllowedError",
                "Permission denied by system",
                "microphone_denied",
            ),
            (
                "NotAllowedError",
                "Permission dismissed",
                "microphone_dismissed",
            ),
            ("SecurityError", "", "insecure_context"),
            (
                "NotFoundError",
                "Requested device not found",
                "microphone_missing",
            ),
            (
                "NotReadableError",
                "Could not start audio source",
                "microphone_in_use",
            ),
            ("AbortError", "", "microphone_in_use"),
            ("OverconstrainedError", "", "microphone_overconstrained"),
            ("TypeError", "", "microphone_failed"),
            ("", "", "microphone_failed"),
        ] {
            assert_eq!(
                Trouble::of(name, message).failure().code.as_str(),
                code,
                "{name} {message}"
            );
        }
    }
}
