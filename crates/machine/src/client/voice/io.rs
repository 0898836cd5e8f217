//! What goes in and comes out of a [`super::Voice`].

use super::microphone::Trouble;
use super::quality::Sample;
use crate::Time;
use crate::client::{TokenReason, WaiterId};
use tautline_protocol::{ErrorCode, Stage};

/// One try at a call. Whatever belongs to it is answered under its number; what comes under an older one is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId(pub u32);

/// One time that a microphone was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MicId(pub u32);

/// What carries a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Sound as media, events on a data channel.
    WebRtc,
    /// Both in the messages of one socket.
    WebSocket,
}

impl Transport {
    /// Its name in the options and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WebRtc => "webrtc",
            Self::WebSocket => "websocket",
        }
    }
}

/// Options of a call, as the machine knows them.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether `getToken` can be asked.
    pub has_token: bool,
    /// Whether there is to be a microphone.
    pub microphone: bool,
    /// Whether it is muted at first.
    pub muted: bool,
    /// The whole of a connect.
    pub connect_timeout_ms: u64,
    /// New calls in a row after a loss.
    pub max_reconnect_attempts: u32,
    /// The session object, as JSON text.
    pub settings: String,
    /// What a call is tried over first.
    pub transport: Transport,
    /// Whether a call that WebRTC does not carry is made over a WebSocket.
    pub falls_back: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            has_token: false,
            microphone: true,
            muted: false,
            connect_timeout_ms: 15_000,
            max_reconnect_attempts: 3,
            settings: String::from(r#"{"type":"realtime"}"#),
            transport: Transport::WebRtc,
            falls_back: false,
        }
    }
}

/// Something that happened, told to the machine.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time passed; also implied by every other input.
    Tick,
    /// `connect()` was called.
    Connect(WaiterId),
    /// `reconnect()` was called.
    Reconnect(WaiterId),
    /// A waiter gave up; the driver has settled it already.
    Abandon(WaiterId),
    /// `disconnect()` was called.
    Disconnect,
    /// `dispose()` was called.
    Dispose,
    /// What [`Output::FetchToken`] came to; the token stays with the driver.
    Token(CallId, TokenResult),
    /// Whether the page's own side is made: the offer, or what a socket's sound needs.
    Offered(CallId, bool),
    /// What sending the offer came to.
    Exchanged(CallId, Exchange),
    /// Whether the answer could be taken.
    Accepted(CallId, bool),
    /// Packets get through, or not.
    Path(CallId, Path),
    /// The channel, or socket, is open; the other side takes messages of so many bytes.
    ChannelOpened(CallId, usize),
    /// It closed.
    ChannelClosed(CallId),
    /// A channel's buffer has run low, to so many bytes; or what a socket's holds now, which answers [`Output::Look`].
    Writable(CallId, usize),
    /// The microphone gave a piece of sound for a socket, in base64.
    Spoken(CallId, String),
    /// What a socket's player has played.
    Played(CallId, Played),
    /// The server said something.
    Event(CallId, Event),
    /// A second's statistics; answers [`Output::Measure`].
    Sample(CallId, Sample),
    /// `setupMicrophone()` was called.
    WantMicrophone(WaiterId),
    /// Another microphone is to be used; the driver knows which.
    ChangeMicrophone(WaiterId),
    /// The page lends a stream, or takes it back.
    Borrowed(bool),
    /// What [`Output::OpenMicrophone`] came to.
    Microphone(MicId, Result<(), Trouble>),
    /// The microphone ended: unplugged, or taken away.
    MicrophoneEnded(MicId),
    /// The system muted it, or not any more.
    MicrophoneMuted(MicId, bool),
    /// Devices came or went; whether the one that is wanted is there.
    Devices(bool),
    /// The page mutes or unmutes.
    Mute(bool),
    /// Push-to-talk: held or let go.
    Talk(bool),
    /// `interrupt()` was called.
    Interrupt,
    /// The session object for calls to come, as JSON text.
    Settings(String),
    /// What calls to come are tried over first.
    Transport(Transport),
}

/// How far a socket's player has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Played {
    /// How often it had been silenced before it played these.
    pub epoch: u32,
    /// Samples since then.
    pub samples: u64,
    /// What it does now.
    pub state: Playing,
}

/// What a socket's player does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Playing {
    /// It goes on.
    On,
    /// It has nothing more.
    Dry,
    /// It was silenced: nothing of this epoch will be played.
    Silenced,
}

/// What asking for a token came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenResult {
    /// There is one.
    Given,
    /// `null`: none now.
    None,
    /// It threw, rejected, or gave something else.
    Failed,
}

/// What sending the offer came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// An answer; its text stays with the driver.
    Answered,
    /// Refused, with this status and the server's own code and words.
    Refused {
        /// The HTTP status.
        status: u16,
        /// `error.code` of the answer.
        code: Option<String>,
        /// `error.message` of the answer.
        said: Option<String>,
    },
    /// Nobody answered.
    Unreachable,
}

/// Whether packets get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// They do.
    Connected,
    /// None came for a while.
    Disconnected,
    /// They do not, for good.
    Failed,
}

/// Who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The person.
    User,
    /// The model.
    Assistant,
    /// Neither.
    System,
}

impl Role {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::System => "system",
        }
    }
}

/// An item of the conversation, as an event carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its id.
    pub id: String,
    /// What it is.
    pub kind: ItemKind,
    /// Whether its status is `incomplete`: cut off.
    pub incomplete: bool,
}

/// What an item is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// Something said; its text if the event has it.
    Message {
        /// By whom.
        role: Role,
        /// Its words.
        text: Option<String>,
    },
    /// A function the model wants called.
    Call {
        /// What its output names.
        call_id: String,
        /// Which function.
        name: String,
        /// JSON text.
        arguments: String,
    },
    /// What such a function came to.
    CallOutput {
        /// The call.
        call_id: String,
        /// As the model reads it.
        output: String,
    },
    /// Anything else; it only keeps its place.
    Other,
}

/// A server event, as far as the machine looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `session.updated`; whether it has everything we asked for.
    Updated {
        /// All of our settings are in it.
        confirms: bool,
        /// An answer ends when somebody speaks.
        interrupts: bool,
        /// What is left of the session, where the server says.
        left_ms: Option<u64>,
    },
    /// The relay's warning: so much is left of the session.
    Expiring {
        /// What is left.
        left_ms: u64,
    },
    /// A piece of an answer's sound, on a socket.
    Sound {
        /// Whose.
        response: String,
        /// The item.
        item: String,
        /// Which part of it.
        part: usize,
        /// Its length.
        samples: u64,
    },
    /// All of an item's sound has come.
    SoundDone {
        /// The item.
        item: String,
    },
    /// Turn detection hears the user, or not any more.
    Speech(bool),
    /// The answer begins to play.
    Started {
        /// Whose.
        response: Option<String>,
    },
    /// The answer has been played to its end.
    Stopped,
    /// The answer was cut off.
    Cleared {
        /// Whose.
        response: Option<String>,
    },
    /// A response of the conversation began.
    Created {
        /// Its id.
        response: String,
    },
    /// A response ended, however.
    Done {
        /// Its id.
        response: String,
    },
    /// An item was added, or is done.
    Item {
        /// The item.
        item: Item,
        /// `previous_item_id`: `None` when the event has none, `Some(None)` for the first.
        previous: Option<Option<String>>,
    },
    /// Spoken input became an item.
    Committed {
        /// The item to come.
        item: String,
        /// As for `Item`.
        previous: Option<Option<String>>,
    },
    /// An item is gone.
    Deleted {
        /// Its id.
        item: String,
    },
    /// More words of an item.
    Delta {
        /// Whose words.
        role: Role,
        /// The item.
        item: String,
        /// Which part of it.
        part: usize,
        /// The response, for the model's words.
        response: Option<String>,
        /// The words.
        text: String,
    },
    /// All words of an item's part.
    Text {
        /// Whose words.
        role: Role,
        /// The item.
        item: String,
        /// Which part of it.
        part: usize,
        /// The response, for the model's words.
        response: Option<String>,
        /// The words.
        text: String,
    },
    /// What the user said could not be transcribed.
    Unheard {
        /// The item.
        item: String,
    },
    /// An answer was cut off after so much of it was heard.
    Truncated {
        /// The item.
        item: String,
        /// How much.
        audio_end_ms: u64,
    },
    /// A response's item is complete: where a function call is to be acted on.
    Output {
        /// The item.
        item: Item,
    },
    /// Something of ours was refused.
    Error {
        /// The `event_id` of ours it names.
        about: Option<String>,
        /// Its code.
        code: Option<String>,
        /// Its words.
        message: String,
    },
    /// Anything else.
    Other,
}

/// Why something could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The stable code.
    pub code: ErrorCode,
    /// What happened and what to do about it.
    pub message: &'static str,
    /// Where in the connect.
    pub stage: Option<Stage>,
    /// The HTTP status.
    pub status: Option<u16>,
    /// The server's own code.
    pub server_code: Option<String>,
    /// The server's own words.
    pub said: Option<String>,
    /// Whether trying again can help.
    pub retryable: bool,
    /// The time it had, where that ran out.
    pub timeout_ms: Option<u64>,
}

impl Failure {
    pub(super) fn new(code: ErrorCode, message: &'static str) -> Box<Self> {
        Box::new(Self {
            code,
            message,
            stage: None,
            status: None,
            server_code: None,
            said: None,
            retryable: code.retryable(),
            timeout_ms: None,
        })
    }

    pub(super) fn at(mut self: Box<Self>, stage: Stage) -> Box<Self> {
        self.stage = Some(stage);
        self
    }
}

/// The call as the page sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not wanted.
    Disconnected,
    /// The first call is being made.
    Connecting,
    /// Open, its settings confirmed.
    Connected,
    /// Lost; another takes its place.
    Reconnecting,
    /// Open, its settings not confirmed in time.
    Unacknowledged,
    /// Given up.
    Error,
}

impl State {
    /// Its name in `getConnectionState()`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Reconnecting => "reconnecting",
            Self::Unacknowledged => "unacknowledged",
            Self::Error => "error",
        }
    }
}

/// Something for the driver to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Call `getToken`; answer with [`Input::Token`].
    FetchToken {
        /// For which call.
        call: CallId,
        /// Why.
        reason: TokenReason,
        /// The number that `getToken` is told.
        number: u32,
    },
    /// Make a peer connection with its channel and an offer, or what a socket's sound needs; answer with
    /// [`Input::Offered`].
    Open(CallId, Transport),
    /// This call is the one that is spoken into and heard.
    Use(CallId),
    /// Send the offer; answer with [`Input::Exchanged`].
    Exchange(CallId),
    /// Open the socket.
    Dial(CallId),
    /// Take the answer; answer with [`Input::Accepted`].
    Accept(CallId),
    /// Write a message to the channel, then say what its buffer holds ([`super::Voice::buffered`]).
    Send(CallId, String),
    /// Say what a socket's buffer holds: [`Input::Writable`].
    Look(CallId),
    /// Have the event's sound played, after what waits to be: once there is so much of it that a late piece leaves no
    /// hole.
    Hear(CallId, u64),
    /// Play nothing more of what was given so far; its end comes with [`Input::Played`].
    Silence(CallId),
    /// Let go of the call, whatever there is of it, and tell the server where it can be told.
    HangUp(CallId),
    /// Ask for a microphone; answer with [`Input::Microphone`]. In a call its track takes the last one's place.
    OpenMicrophone {
        /// Under which number.
        id: MicId,
        /// Whichever there is, not only the one that is wanted.
        any: bool,
    },
    /// Stop the microphone, unless it is the page's; also one that is still being asked for.
    ReleaseMicrophone,
    /// Whether the microphone's sound leaves the page.
    OpenGate(bool),
    /// Play quietly, or as before: somebody speaks.
    Duck(bool),
    /// Begin or end measuring levels.
    Meter(bool),
    /// Take a second's statistics; answer with [`Input::Sample`].
    Measure(CallId),
    /// Settle a `connect()`, `reconnect()`, `setupMicrophone()` or `setMicrophoneDevice()`.
    Settle(WaiterId, Result<(), Box<Failure>>),
    /// Tell the page.
    Tell(Notice),
    /// Nothing more to do until then; ends every drain.
    Wait(Option<(Time, Timer)>),
}

/// Something the page may listen to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// `connection.change`.
    State(State),
    /// `connected`.
    Connected,
    /// `dataChannelReady`.
    ChannelReady,
    /// `fallback`: the call is made over a WebSocket, and why.
    Fallback(Box<Failure>),
    /// `rollover`: another session has taken the place of one that runs out.
    RolledOver,
    /// `ice.disconnection`.
    Disconnected,
    /// `disconnection`.
    Ended {
        /// Why.
        reason: EndReason,
        /// The wait before another call takes its place; `None`: none does.
        delay_ms: Option<u64>,
    },
    /// `reconnect.needed`.
    ReconnectNeeded(Box<Failure>),
    /// `connection.timeout`.
    TimedOut(Stage),
    /// `speaking`.
    Speaking {
        /// Turn detection hears the user.
        user: bool,
        /// The answer is being played.
        assistant: bool,
    },
    /// `transcript`: this item is new or has changed.
    Transcript(String),
    /// `tool.call`.
    Tool {
        /// What its output names.
        call_id: String,
        /// Which function.
        name: String,
        /// JSON text.
        arguments: String,
    },
    /// `microphone.muted`.
    Muted {
        /// Whether it is.
        muted: bool,
        /// The system, not the page.
        by_system: bool,
    },
    /// `microphone.ended`.
    MicrophoneEnded {
        /// Whether another is asked for.
        replaced: bool,
    },
    /// `microphone.denied`.
    MicrophoneDenied(Box<Failure>),
    /// `stats`: there is a new [`super::Voice::report`].
    Stats,
    /// `alarm`.
    Alarm(Alarm, bool),
    /// `error`.
    Error(Box<Failure>),
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// `disconnect()`.
    Page,
    /// The other side closed it.
    Server,
    /// No packets get through.
    Network,
    /// A new call in a lost one's place could not be had.
    Failed,
}

impl EndReason {
    /// Its name in `disconnection`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Server => "server",
            Self::Network => "network",
            Self::Failed => "failed",
        }
    }
}

/// What a call may quietly suffer from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// The microphone is open and gives nothing.
    MicSilent,
    /// Nothing leaves.
    NoRtpOut,
    /// The answer is said to be playing and nothing of it comes.
    NoAudioIn,
}

impl Alarm {
    /// Every alarm.
    pub const ALL: [Self; 3] = [Self::MicSilent, Self::NoRtpOut, Self::NoAudioIn];

    /// Its name in `alarm`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MicSilent => "mic_silent",
            Self::NoRtpOut => "no_rtp_out",
            Self::NoAudioIn => "no_audio_in",
        }
    }
}

/// Why the machine wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// The connect takes too long.
    Connect,
    /// The settings are not confirmed.
    Settings,
    /// Packets have not come back.
    Path,
    /// The backoff is over.
    Backoff,
    /// Connected long enough for the backoff to start over.
    Settled,
    /// A second has passed.
    Second,
    /// The last of what was spoken has left.
    Tail,
    /// A response is asked for again.
    Create,
    /// WebRTC has had its time.
    Fallback,
    /// A socket's buffer is looked at.
    Drain,
    /// A session is about to run out: what is next for the one in its place.
    Roll,
}
