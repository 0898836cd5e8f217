//! A relay process, a keep-alive HTTP client, a WebSocket client that counts what it gets.

use futures_util::{SinkExt, StreamExt};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Nothing here takes longer, however busy the machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tautline-relay"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TAUTLINE_")) {
        command.env_remove(name);
    }
    command
}

/// A connection, over TLS or not.
pub(crate) trait Line: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Line for T {}

/// A relay process; killed when dropped.
pub(crate) struct Relay {
    child: Child,
    pub(crate) address: SocketAddr,
    /// How its clients speak TLS, if it does.
    pub(crate) tls: Option<TlsConnector>,
    /// The second listener.
    pub(crate) metrics: Option<SocketAddr>,
}

impl Relay {
    pub(crate) fn start(data: &Path, args: &[&str]) -> Self {
        Self::spawn(command(), data, args)
    }

    /// With so many files open at once.
    pub(crate) fn start_with_files(files: usize) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]);
        shell.arg(env!("CARGO_BIN_EXE_tautline-relay"));
        Self::spawn(shell, Path::new(":memory:"), &[])
    }

    /// Its log, as JSON, in a file.
    pub(crate) fn start_logging(data: &Path, log: &Path, level: &str) -> Self {
        let mut command = command();
        command.stderr(std::fs::File::create(log).unwrap());
        command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--log", "json"]);
        command.args(["--log-level", level, "--data-dir"]).arg(data);
        Self::ready(command)
    }

    /// With files of at most that many blocks of 512 bytes.
    pub(crate) fn start_limited(data: &Path, blocks: usize) -> Self {
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""),
        ]);
        shell.arg(env!("CARGO_BIN_EXE_tautline-relay"));
        Self::spawn(shell, data, &[])
    }

    pub(crate) fn spawn(command: Command, data: &Path, args: &[&str]) -> Self {
        Self::try_spawn(command, data, args).unwrap_or_else(|| panic!("it does not start"))
    }

    /// `None` when it ends before it listens.
    pub(crate) fn try_spawn(mut command: Command, data: &Path, args: &[&str]) -> Option<Self> {
        command
            .args([
                "serve",
                "--dev",
                "--listen",
                "127.0.0.1:0",
                "--log",
                "text",
                "--data-dir",
            ])
            .arg(data)
            .args(args);
        Self::try_ready(command)
    }

    /// Without `--dev`: keys and everything else are the caller's to name.
    pub(crate) fn start_bare(data: &Path, args: &[&str]) -> Self {
        let mut command = command();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(data).args(args);
        Self::ready(command)
    }

    /// The same, with its log in a file.
    pub(crate) fn start_bare_logged(data: &Path, log: &Path, args: &[&str]) -> Self {
        let mut command = command();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(data).args(args);
        command.stderr(std::fs::File::create(log).unwrap());
        Self::ready(command)
    }

    /// Without a flag.
    pub(crate) fn start_by_environment(environment: &[(&str, &str)]) -> Self {
        let mut command = command();
        command.arg("serve").envs(environment.iter().copied());
        Self::ready(command)
    }

    fn ready(command: Command) -> Self {
        Self::try_ready(command).unwrap_or_else(|| panic!("it does not start"))
    }

    fn try_ready(mut command: Command) -> Option<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (mut line, mut second) = (String::new(), String::new());
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        if command.get_args().any(|arg| arg == "--metrics-listen") {
            out.read_line(&mut second).unwrap();
        }
        let metrics = second.trim().strip_prefix("metrics on http://");
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .and_then(|url| url.split_once("://"))
            .map(|(_, address)| address);
        let Some(address) = address else {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        };
        Some(Self {
            address: address.parse().unwrap(),
            child,
            tls: None,
            metrics: metrics.map(|address| address.parse().unwrap()),
        })
    }

    /// A connection to it.
    pub(crate) async fn line(&self) -> Box<dyn Line> {
        let socket = TcpStream::connect(self.address).await.unwrap();
        match &self.tls {
            None => Box::new(socket),
            Some(tls) => {
                let name = ServerName::IpAddress(self.address.ip().into());
                Box::new(tls.connect(name, socket).await.unwrap())
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < DEADLINE, "the relay does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// To the second listener.
    pub(crate) async fn operators(&self) -> Http {
        let address = self.metrics.unwrap();
        Http::over(
            Box::new(TcpStream::connect(address).await.unwrap()),
            address,
        )
    }

    pub(crate) async fn http(&self) -> Http {
        Http::over(self.line().await, self.address)
    }

    pub(crate) async fn token(&self, role: &str) -> String {
        self.token_for(&format!("restaurant_id=demo&role={role}"))
            .await
    }

    pub(crate) async fn token_for(&self, query: &str) -> String {
        let answer = self
            .http()
            .await
            .get(&format!("/dev/token?{query}"), "")
            .await;
        answer.json()["token"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer:?}"))
            .to_owned()
    }

    /// The value of a metric without labels, or the sum over those with the label text given.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.http().await.get("/metrics", "").await.body;
        text.lines()
            .filter(|line| {
                line.split(['{', ' ']).next() == name.split('{').next()
                    && line.starts_with(name.trim_end_matches('}'))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Asks until the condition holds.
    pub(crate) async fn until<F: Future<Output = bool>>(
        &self,
        what: &str,
        mut holds: impl FnMut() -> F,
    ) {
        let started = Instant::now();
        while !holds().await {
            assert!(started.elapsed() < DEADLINE, "in vain: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .unwrap()
            .count()
    }
}

/// How often a row of the table of limits was met, by the metrics.
pub(crate) async fn met(relay: &Relay, row: &str) -> f64 {
    relay
        .metric(&format!("tautline_limit_hits_total{{limit=\"{row}\"}}"))
        .await
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an ended program said.
pub(crate) fn run(args: &[&str]) -> (i32, String, String) {
    let mut child = command()
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(started.elapsed() < DEADLINE, "{args:?} does not end");
        std::thread::sleep(Duration::from_millis(5));
    };
    let (mut out, mut err) = (String::new(), String::new());
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    (status.code().unwrap_or(-1), out, err)
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            line.split_once(':')
                .filter(|(n, _)| n.eq_ignore_ascii_case(name))
                .map(|(_, v)| v.trim())
        })
    }
}

/// One keep-alive connection.
pub(crate) struct Http {
    socket: Box<dyn Line>,
    address: SocketAddr,
    buffer: Vec<u8>,
}

impl Http {
    pub(crate) fn over(socket: Box<dyn Line>, address: SocketAddr) -> Self {
        Self {
            socket,
            address,
            buffer: Vec::new(),
        }
    }

    pub(crate) async fn get(&mut self, path: &str, token: &str) -> Answer {
        self.send("GET", path, token, &[], "").await.unwrap()
    }

    pub(crate) async fn post(&mut self, path: &str, token: &str, body: &str) -> Answer {
        self.send("POST", path, token, &[], body).await.unwrap()
    }

    /// `Err` when the connection breaks before the answer is whole.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> std::io::Result<Answer> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\ncontent-length: {}\r\n",
            body.len()
        );
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            request += &format!("host: {}\r\n", self.address);
        }
        if !token.is_empty() {
            request += &format!("authorization: Bearer {token}\r\n");
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "\r\n";
        request += body;
        self.socket.write_all(request.as_bytes()).await?;
        tokio::time::timeout(DEADLINE, self.answer()).await.unwrap()
    }

    async fn answer(&mut self) -> std::io::Result<Answer> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer {
            status,
            head,
            body: String::new(),
        };
        let length: usize = answer
            .header("content-length")
            .map_or(0, |len| len.parse().unwrap());
        while self.buffer.len() < length {
            self.more().await?;
        }
        answer.body = String::from_utf8(self.buffer.drain(..length).collect()).unwrap();
        Ok(answer)
    }

    async fn more(&mut self) -> std::io::Result<()> {
        if self.socket.read_buf(&mut self.buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// Waits until the other side closes; whether it did in time.
    pub(crate) async fn is_closed(&mut self, time: Duration) -> bool {
        let closed = async { while self.more().await.is_ok() {} };
        tokio::time::timeout(time, closed).await.is_ok()
    }

    /// A request as it is, its answer to be read by [`Http::read_until`].
    pub(crate) async fn raw(&mut self, request: &str) {
        self.socket.write_all(request.as_bytes()).await.unwrap();
    }

    /// Whether an endless answer ends, or the connection does.
    pub(crate) async fn ends(&mut self) -> bool {
        tokio::time::timeout(DEADLINE, async {
            // The last chunk of a chunked body.
            while !self.buffer.ends_with(b"0\r\n\r\n") {
                if self.more().await.is_err() {
                    break;
                }
            }
        })
        .await
        .is_ok()
    }

    /// Bytes of an endless answer until they contain a text.
    pub(crate) async fn read_until(&mut self, text: &str) -> String {
        self.read_within(text, DEADLINE).await
    }

    /// The same, for an answer that takes its time.
    pub(crate) async fn read_within(&mut self, text: &str, time: Duration) -> String {
        tokio::time::timeout(time, async {
            while !String::from_utf8_lossy(&self.buffer).contains(text) {
                self.more().await.unwrap();
            }
        })
        .await
        .unwrap();
        String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned()
    }
}

pub(crate) const ORDERS: &str = "/api/v1/restaurants/demo/orders";
pub(crate) const EVENTS: &str = "/api/v1/restaurants/demo/events";

pub(crate) fn burger(table: &str) -> String {
    json!({"type":"dine-in","table_number":table,"items":[{"menu_item_id":"b","name":"Burger","quantity":1,"price":9.5}]}).to_string()
}

/// A WebSocket client; frames are handed out one object at a time.
pub(crate) struct Client {
    socket: WebSocketStream<Box<dyn Line>>,
    waiting: std::collections::VecDeque<Value>,
    /// Text messages received.
    pub(crate) frames: usize,
}

impl Client {
    pub(crate) async fn open(relay: &Relay) -> Self {
        Self::over(relay.line().await, relay.address).await
    }

    pub(crate) async fn over(stream: Box<dyn Line>, address: SocketAddr) -> Self {
        Self::try_over(stream, address, &[]).await.unwrap()
    }

    /// With headers of its own; `Err` is the status of the refusal and its `Retry-After`.
    pub(crate) async fn try_open(
        address: SocketAddr,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, (u16, Option<String>)> {
        let stream = Box::new(TcpStream::connect(address).await.unwrap());
        Self::try_over(stream, address, headers).await
    }

    async fn try_over(
        stream: Box<dyn Line>,
        address: SocketAddr,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, (u16, Option<String>)> {
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Self {
                socket,
                waiting: Default::default(),
                frames: 0,
            }),
            Err(Error::Http(answer)) => {
                let wait = answer.headers().get("retry-after");
                let wait = wait.map(|wait| wait.to_str().unwrap().to_owned());
                Err((answer.status().as_u16(), wait))
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Opened, greeted, authenticated in v1; the answer to `auth`.
    pub(crate) async fn v1(relay: &Relay, token: &str, more: Value) -> (Self, Value) {
        let mut client = Self::open(relay).await;
        client.expect("connected").await;
        let mut auth = json!({"type":"auth","token":token,"protocol":"tautline.v1"});
        for (key, value) in more.as_object().unwrap() {
            auth[key] = value.clone();
        }
        client.send(auth).await;
        let answer = client.expect("auth:success").await;
        (client, answer)
    }

    pub(crate) async fn send(&mut self, frame: Value) {
        self.text(frame.to_string()).await;
    }

    /// Several messages in one write.
    pub(crate) async fn send_at_once(&mut self, frames: impl Iterator<Item = Value>) {
        for frame in frames {
            let message = Message::text(frame.to_string());
            self.socket.feed(message).await.unwrap();
        }
        self.socket.flush().await.unwrap();
    }

    pub(crate) async fn text(&mut self, text: String) {
        self.message(Message::text(text)).await;
    }

    pub(crate) async fn message(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    async fn next_message(&mut self) -> Option<Message> {
        match tokio::time::timeout(DEADLINE, self.socket.next())
            .await
            .expect("a frame in time")
        {
            Some(Ok(message)) => Some(message),
            Some(Err(_)) | None => None,
        }
    }

    /// The next object, whatever it is; panics at a close.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            if let Some(value) = self.waiting.pop_front() {
                return value;
            }
            match self.next_message().await {
                Some(Message::Text(text)) => {
                    self.frames += 1;
                    match serde_json::from_str(&text).unwrap() {
                        Value::Array(values) => self.waiting.extend(values),
                        value => self.waiting.push_back(value),
                    }
                }
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next object of one that may be closed instead.
    pub(crate) async fn reply(&mut self) -> Option<Value> {
        match self.next_message().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).ok(),
            _ => None,
        }
    }

    /// The next object, which must be of this type.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        let value = self.next().await;
        assert_eq!(value["type"], kind, "{value}");
        value
    }

    /// A pong, to show that the connection lives.
    pub(crate) async fn ping(&mut self) {
        self.send(json!({"type":"ping","payload":{"timestamp":1}}))
            .await;
        self.until("pong").await;
    }

    /// The next object of this type, others dropped.
    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        loop {
            let value = self.next().await;
            if value["type"] == kind {
                return value;
            }
        }
    }

    /// The close code, texts before it dropped; 1006 when there was none.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next_message().await {
                Some(Message::Close(Some(frame))) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Some(Message::Close(None)) => return (1005, String::new()),
                Some(_) => {}
                None => return (1006, String::new()),
            }
        }
    }
}
