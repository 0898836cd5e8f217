//! A call as a page holds it: any server, any browser, any order of things. Nothing panics or spins; one call at a time
//! is open and is hung up; the microphone is given back and heard by nobody before the settings hold; what waits is
//! settled once; a function is called once; and when it is disposed of nothing is left.

mod heard;

use crate::{number, steps};
use heard::Heard;
use serde_json::Value;
use std::collections::BTreeSet;
use tautline_machine::Time;
use tautline_machine::client::WaiterId;
use tautline_machine::client::voice::{
    self, CallId, Config, Exchange, Input, MicId, Notice, Output, Path, Sample, State, TokenResult,
    Trouble, Voice,
};

/// What the other side says its channel takes.
const MOST: usize = 16 * 1024;

/// Lines: `c` connect, `r` reconnect, `m` a microphone is wanted, `x` the last of these is abandoned, `k` what was asked
/// for last comes, `K` it does not, `P` the path by number, `o` and `z` the channel opens, closes, `v` an event as a list, `t`
/// milliseconds that pass, `T` time up to the next timer, `M` muted or not, `h` push-to-talk, `i` interrupt, `s` an event
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
    asked: Option<Asked>,
    call: Option<CallId>,
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
            ..Config::default()
        };
        Self {
            voice: Voice::new(config, 7),
            now: Time::from_ms(1_000),
            wait: None,
            asked: None,
            call: None,
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
            'v' => {
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
        let input = match self.asked.take() {
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
                self.asked = Some(Asked::Token(call));
            }
            Output::Open(call) => {
                assert_eq!(self.call, None, "two calls at once");
                self.call = Some(call);
                self.last_call = call;
                self.asked = Some(Asked::Offer(call));
            }
            Output::Exchange(call) => {
                assert_eq!(self.call, Some(call));
                self.asked = Some(Asked::Exchange(call));
            }
            Output::Accept(call) => {
                assert_eq!(self.call, Some(call));
                self.asked = Some(Asked::Accept(call));
            }
            Output::Send(call, text) => {
                assert_eq!(self.call, Some(call), "sent to a call that is over");
                let event: Value = serde_json::from_str(&text).expect("JSON");
                assert!(event["type"].is_string() && event["event_id"].is_string());
                assert!(text.len() <= MOST, "more than the channel takes");
                self.buffered += text.len();
                self.voice.buffered(self.buffered);
            }
            Output::HangUp(call) => {
                // One that never came to an offer is hung up as well.
                if self.call == Some(call) {
                    self.call = None;
                }
                self.buffered = 0;
            }
            Output::OpenMicrophone { id, .. } => {
                self.opening = Some(id);
                self.asked = Some(Asked::Microphone(id));
            }
            Output::ReleaseMicrophone => (self.microphone, self.opening) = (None, None),
            Output::OpenGate(open) => {
                assert!(!open || self.call.is_some(), "heard without a call");
            }
            Output::Measure(call) => assert_eq!(self.call, Some(call)),
            Output::Settle(waiter, _) => {
                assert!(self.waiters.remove(&waiter.0), "settled twice: {waiter:?}");
            }
            Output::Tell(Notice::Tool { call_id, .. }) => {
                assert!(self.tools.insert(call_id), "a function called twice");
            }
            Output::Tell(Notice::Connected) => {
                assert_eq!(self.voice.state(), State::Connected);
                assert!(self.call.is_some());
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
        assert_eq!(self.call, None, "a call is left");
        let left = self.microphone.or(self.opening);
        assert_eq!(left, None, "a microphone is left");
        assert!(self.waiters.is_empty(), "never settled: {:?}", self.waiters);
        assert_eq!(self.wait, None, "a timer is left");
        self.waiting(Input::Connect);
        assert!(self.waiters.is_empty() && self.call.is_none());
    }
}
