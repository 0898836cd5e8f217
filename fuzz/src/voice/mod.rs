//! A call as a page holds it: any server, any browser, any order of things, over WebRTC or a socket. Nothing panics or
//! spins; one call is open, or two where one takes the other's place, one of them is in use, and each is hung up; the microphone is given back and heard by nobody before the settings hold; what waits is
//! settled once; a function is called once; and when it is disposed of nothing is left.

mod heard;

use crate::{number, steps};
use heard::Heard;
use serde_json::Value;
use std::collections::BTreeSet;
use tautline_machine::Time;
use tautline_machine::client::WaiterId;
use tautline_machine::client::voice::{
    self, CallId, Config, Exchange, Input, MicId, Notice, Output, Path, Played, Playing, Sample,
    State, TokenResult, Transport, Trouble, Voice,
};

/// What the other side says its channel takes.
const MOST: usize = 16 * 1024;

/// Lines: `c` connect, `r` reconnect, `N` over a socket from now on or not, `m` a microphone is wanted, `x` the last of these
/// is abandoned, `k` what was asked for last comes, `K` it does not, `P` the path by number, `o` and `z` the channel opens,
/// closes, `Z` that of the call in use, `v` an event as a list, `V` one of the call in use, `a` a piece of what is spoken, `p`
/// what a socket's player has played, silenced where that was asked for, `t` milliseconds that pass, `T` time up to the next timer, `M` muted or not, `h` push-to-talk, `i` interrupt, `s` an event
/// of the page's, `S` a response is asked for, `w` the channel's buffer, `b` a stream is lent, `d` devices, `e` the
/// microphone ends, `q` a change of microphone, `n` new settings, `y` statistics, `D` disconnect.
pub(crate) fn run(data: &[u8]) {
    let script = String::from_utf8_lossy(data);
    let mut page = Page::new();
    for (step, text) in steps(&script).take(150) {
        page.step(step, text);
    }
    page.end();
}

enum Asked {
    Token(CallId),
    Offer(CallId),
    Exchange(CallId),
    Accept(CallId),
    Microphone(MicId),
}

struct Page {
    voice: Voice,
    now: Time,
    wait: Option<Time>,
    asked: Vec<Asked>,
    calls: Vec<CallId>,
    /// The one that is spoken into and heard.
    using: Option<CallId>,
    /// How often its player was silenced, and whether it has said what it had played by then.
    epoch: u32,
    silenced: bool,
    /// Of calls that are over, too: a late answer.
    last_call: CallId,
    /// One that is there, and one that was asked for.
    microphone: Option<MicId>,
    opening: Option<MicId>,
    buffered: usize,
    waiters: BTreeSet<u32>,
    last_waiter: u32,
    tools: BTreeSet<String>,
    heard: usize,
}

impl Page {
    fn new() -> Self {
        let config = Config {
            has_token: true,
            falls_back: true,
            ..Config::default()
        };
        Self {
            voice: Voice::new(config, 7),
            now: Time::from_ms(1_000),
            wait: None,
            asked: Vec::new(),
            calls: Vec::new(),
            using: None,
            epoch: 0,
            silenced: false,
            last_call: CallId(0),
            microphone: None,
            opening: None,
            buffered: 0,
            waiters: BTreeSet::new(),
            last_waiter: 0,
            tools: BTreeSet::new(),
            heard: 0,
        }
    }

    fn step(&mut self, step: char, text: &str) {
        let call = self.last_call;
        match step {
            'c' => {
                if matches!(self.voice.state(), State::Disconnected | State::Error) {
                    // Another conversation.
                    self.tools.clear();
                }
                self.waiting(Input::Connect);
            }
            'r' => self.waiting(Input::Reconnect),
            'm' => self.waiting(Input::WantMicrophone),
            'q' => self.waiting(Input::ChangeMicrophone),
            'x' => {
                let waiter = WaiterId(self.last_waiter);
                self.waiters.remove(&self.last_waiter);
                self.give(Input::Abandon(waiter));
            }
            'k' => self.answer(true, text),
            'K' => self.answer(false, text),
            'P' => {
                let path = [Path::Connected, Path::Disconnected, Path::Failed];
                self.give(Input::Path(call, path[number(text, 2) as usize]));
            }
            'o' => self.give(Input::ChannelOpened(call, MOST)),
            'z' => self.give(Input::ChannelClosed(call)),
            'Z' => {
                if let Some(call) = self.using {
                    self.give(Input::ChannelClosed(call));
                }
            }
            'N' => self.give(Input::Transport(match text {
                "1" => Transport::WebSocket,
                _ => Transport::WebRtc,
            })),
            'a' => self.give(Input::Spoken(call, "A".repeat(text.len() * 64))),
            'p' => {
                let silenced = std::mem::take(&mut self.silenced);
                let report = Played {
                    epoch: self.epoch - u32::from(silenced),
                    samples: number(text, 10_000_000),
                    state: match (silenced, text.len() % 2) {
                        (true, _) => Playing::Silenced,
                        (_, 0) => Playing::Dry,
                        _ => Playing::On,
                    },
                };
                self.give(Input::Played(self.using.unwrap_or(call), report));
            }
            'v' | 'V' => {
                let call = self.using.filter(|_| step == 'V').unwrap_or(call);
                if let Ok(Value::Array(list)) = serde_json::from_str(text)
                    && let Some(event) = voice::event(&Heard(list))
                {
                    self.heard += 1;
                    self.give(Input::Event(call, event));
                }
            }
            't' => self.pass(number(text, 3_600_000)),
            'T' => {
                if let Some(at) = self.wait {
                    self.now = self.now.max(at);
                    self.give(Input::Tick);
                }
            }
            'M' => self.give(Input::Mute(text == "1")),
            'h' => self.give(Input::Talk(text == "1")),
            'i' => self.give(Input::Interrupt),
            's' | 'S' => {
                let body = format!(r#"{{"type":"x","text":"{}"}}"#, "y".repeat(text.len() * 64));
                let id = (!text.is_empty()).then(|| format!("id{}", text.len()));
                let _ = self.voice.send(&body, id, step == 'S', self.now);
                self.give(Input::Tick);
            }
            'w' => {
                self.buffered = number(text, 1_000_000) as usize;
                self.give(Input::Writable(call, self.buffered));
            }
            'b' => {
                // Lending one, or taking it back, the driver lets go of what there was.
                (self.microphone, self.opening) = (None, None);
                self.give(Input::Borrowed(text == "1"));
            }
            'd' => self.give(Input::Devices(text == "1")),
            'e' => {
                if let Some(microphone) = self.microphone {
                    self.give(Input::MicrophoneEnded(microphone));
                }
            }
            'n' => self.give(Input::Settings(r#"{"type":"realtime","a":1}"#.into())),
            'y' => {
                let sample = Sample {
                    sent: number(text, 1_000_000),
                    received: number(text, 1_000_000) / 2,
                    buffered: self.buffered,
                    ..Sample::default()
                };
                self.give(Input::Sample(call, sample));
            }
            'D' => self.give(Input::Disconnect),
            _ => {}
        }
        let lines = self.voice.transcript();
        assert!(lines.len() <= self.heard, "more lines than were heard");
    }

    fn waiting(&mut self, input: impl FnOnce(WaiterId) -> Input) {
        self.last_waiter += 1;
        self.waiters.insert(self.last_waiter);
        self.give(input(WaiterId(self.last_waiter)));
    }

    fn answer(&mut self, well: bool, text: &str) {
        let input = match self.asked.pop() {
            None => return,
            Some(Asked::Token(call)) => {
                let answers = [TokenResult::None, TokenResult::Failed];
                let answer = answers[number(text, 1) as usize];
                Input::Token(call, if well { TokenResult::Given } else { answer })
            }
            Some(Asked::Offer(call)) => Input::Offered(call, well),
            Some(Asked::Exchange(call)) if well => Input::Exchanged(call, Exchange::Answered),
            Some(Asked::Exchange(call)) => {
                let refused = Exchange::Refused {
                    status: number(text, 600) as u16,
                    code: Some("c".into()),
                    said: None,
                };
                let none = text.is_empty().then_some(Exchange::Unreachable);
                Input::Exchanged(call, none.unwrap_or(refused))
            }
            Some(Asked::Accept(call)) => Input::Accepted(call, well),
            Some(Asked::Microphone(id)) => {
                const TROUBLES: [Trouble; 7] = [
                    Trouble::Denied,
                    Trouble::Dismissed,
                    Trouble::Insecure,
                    Trouble::Missing,
                    Trouble::InUse,
                    Trouble::Overconstrained,
                    Trouble::Failed,
                ];
                let trouble = TROUBLES[number(text, 6) as usize];
                if self.opening == Some(id) {
                    self.opening = None;
                    self.microphone = if well { Some(id) } else { self.microphone };
                }
                Input::Microphone(id, if well { Ok(()) } else { Err(trouble) })
            }
        };
        self.give(input);
    }

    fn give(&mut self, input: Input) {
        self.voice.handle(input, self.now);
        for _ in 0..10_000 {
            let output = self.voice.poll_output();
            match output {
                Output::Wait(wait) => {
                    self.wait = wait.map(|(at, _)| at);
                    assert!(self.wait.is_none_or(|at| at > self.now), "it spins");
                    return;
                }
                output => self.perform(output),
            }
        }
        panic!("a drain without end");
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::FetchToken { call, .. } => {
                self.last_call = call;
                self.asked.push(Asked::Token(call));
            }
            Output::Open(call, _) => {
                self.calls.push(call);
                assert!(self.calls.len() <= 2, "more than a call and the next");
                self.last_call = call;
                self.asked.push(Asked::Offer(call));
            }
            Output::Use(call) => {
                assert_eq!(self.calls, [call], "the other is still there");
                self.using = Some(call);
                (self.epoch, self.silenced) = (0, false);
            }
            Output::Exchange(call) => {
                assert!(self.calls.contains(&call));
                self.asked.push(Asked::Exchange(call));
            }
            Output::Accept(call) => {
                assert!(self.calls.contains(&call));
                self.asked.push(Asked::Accept(call));
            }
            Output::Send(call, text) => {
                assert!(self.calls.contains(&call), "sent to a call that is over");
                let event: Value = serde_json::from_str(&text).expect("JSON");
                let sound = event["audio"].is_string();
                assert!(event["type"].is_string() && (sound || event["event_id"].is_string()));
                assert!(text.len() <= MOST, "more than the channel takes");
                self.buffered += text.len();
                self.voice.buffered(call, self.buffered);
            }
            Output::HangUp(call) => {
                self.calls.retain(|open| *open != call);
                self.using = self.using.filter(|using| *using != call);
                self.buffered = 0;
            }
            Output::OpenMicrophone { id, .. } => {
                self.opening = Some(id);
                self.asked.push(Asked::Microphone(id));
            }
            Output::ReleaseMicrophone => (self.microphone, self.opening) = (None, None),
            Output::OpenGate(open) => {
                assert!(!open || self.using.is_some(), "heard without a call");
            }
            Output::Measure(call) | Output::Hear(call, _) | Output::Look(call) => {
                assert_eq!(self.using, Some(call));
            }
            Output::Dial(call) => assert!(self.calls.contains(&call)),
            Output::Silence(call) => {
                assert_eq!(self.using, Some(call));
                self.epoch += 1;
                self.silenced = true;
            }
            Output::Settle(waiter, _) => {
                assert!(self.waiters.remove(&waiter.0), "settled twice: {waiter:?}");
            }
            Output::Tell(Notice::Tool { call_id, .. }) => {
                assert!(self.tools.insert(call_id), "a function called twice");
            }
            Output::Tell(Notice::Connected) => {
                assert_eq!(self.voice.state(), State::Connected);
                assert!(self.using.is_some());
            }
            Output::Duck(_) | Output::Meter(_) | Output::Tell(_) | Output::Wait(_) => {}
        }
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        for _ in 0..200 {
            let Some(at) = self.wait.filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            self.give(Input::Tick);
        }
        self.now = end;
    }

    fn end(&mut self) {
        self.give(Input::Dispose);
        assert_eq!(self.calls, [], "a call is left");
        let left = self.microphone.or(self.opening);
        assert_eq!(left, None, "a microphone is left");
        assert!(self.waiters.is_empty(), "never settled: {:?}", self.waiters);
        assert_eq!(self.wait, None, "a timer is left");
        self.waiting(Input::Connect);
        assert!(self.waiters.is_empty() && self.calls.is_empty());
    }
}
