//! An upstream of the Realtime API over TLS, that checks what it is sent and breaks when it is told to.

use futures_util::{SinkExt, StreamExt};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// It answers everything.
    Serve,
    /// It breaks off in the middle of the first response, without a word.
    BreakInTurn,
    /// It says goodbye at the first response, with that code.
    Close(u16),
    /// It does not come about.
    Refuse,
}

/// See the module.
pub(crate) struct Fake {
    pub(crate) base: String,
    pub(crate) ca: String,
    pub(crate) folder: TempDir,
    /// What each connection was sent, in order.
    pub(crate) heard: Arc<Mutex<Vec<Vec<Value>>>>,
    /// How many are open.
    pub(crate) open: Arc<AtomicUsize>,
}

pub(crate) const KEY: &str = "sk-the-operators-own";

impl Fake {
    /// One whose connections go by those plans, the last of them for all that follow.
    pub(crate) async fn start(plans: &[Plan]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, cert.pem()).unwrap();
        let private =
            PrivateKeyDer::from_pem_slice(signing_key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], private)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::<Mutex<Vec<Vec<Value>>>>::default();
        let open = Arc::<AtomicUsize>::default();
        let (plans, all, opened) = (plans.to_vec(), Arc::clone(&heard), Arc::clone(&open));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let number = {
                    let mut all = all.lock().unwrap();
                    all.push(Vec::new());
                    all.len() - 1
                };
                let plan = plans[number.min(plans.len() - 1)];
                if plan == Plan::Refuse {
                    continue;
                }
                let (acceptor, all, opened) =
                    (acceptor.clone(), Arc::clone(&all), Arc::clone(&opened));
                tokio::spawn(async move {
                    opened.fetch_add(1, Ordering::Relaxed);
                    serve(socket, acceptor, plan, |event| {
                        all.lock().unwrap()[number].push(event);
                    })
                    .await;
                    opened.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self {
            base: format!("https://localhost:{port}/v1"),
            ca: ca.to_str().unwrap().to_owned(),
            folder,
            heard,
            open,
        }
    }

    /// How many connections were begun.
    pub(crate) fn dialled(&self) -> usize {
        self.heard.lock().unwrap().len()
    }

    /// The types of what one was sent.
    pub(crate) fn kinds(&self, number: usize) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        let kinds = heard[number]
            .iter()
            .map(|event| event["type"].as_str().unwrap().to_owned());
        kinds.collect()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }
}

async fn serve(socket: TcpStream, acceptor: TlsAcceptor, plan: Plan, heard: impl Fn(Value)) {
    let Ok(stream) = acceptor.accept(socket).await else {
        return;
    };
    #[expect(clippy::result_large_err, reason = "the library's own")]
    let check = |request: &Request, response: Response| {
        let key = request.headers().get("authorization").unwrap();
        assert_eq!(key, &format!("Bearer {KEY}"));
        assert!(request.headers().get("openai-beta").is_none());
        assert!(request.uri().to_string().starts_with("/v1/realtime?model="));
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(stream, check).await else {
        return;
    };
    let mut count = 0;
    let mut say = |mut event: Value| {
        count += 1;
        event["event_id"] = json!(format!("event_{count}"));
        Message::text(event.to_string())
    };
    let session = json!({"id": "sess_far", "object": "realtime.session", "type": "realtime"});
    let created = json!({"type": "session.created", "session": session});
    if socket.send(say(created)).await.is_err() {
        return;
    }
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else {
            continue;
        };
        let event: Value = serde_json::from_str(&text).unwrap();
        heard(event.clone());
        let mut answers = Vec::new();
        match event["type"].as_str().unwrap() {
            "session.update" => {
                let mut session = event["session"].clone();
                session["id"] = json!("sess_far");
                answers.push(json!({"type": "session.updated", "session": session}));
            }
            "conversation.item.create" => {
                let mut item = event["item"].clone();
                if item.get("id").is_none() {
                    item["id"] = json!(format!("item_{}", text.len()));
                }
                for kind in ["conversation.item.added", "conversation.item.done"] {
                    answers.push(json!({"type": kind, "item": item}));
                }
            }
            "response.create" => {
                let response = json!({"id": "resp_far", "object": "realtime.response", "status": "in_progress", "output": []});
                let created = json!({"type": "response.created", "response": response});
                let _ = socket.send(say(created)).await;
                match plan {
                    Plan::BreakInTurn => return,
                    Plan::Close(code) => {
                        let frame = CloseFrame {
                            code: code.into(),
                            reason: "far end".into(),
                        };
                        let _ = socket.close(Some(frame)).await;
                        return;
                    }
                    Plan::Serve | Plan::Refuse => {}
                }
                let response = json!({"id": "resp_far", "object": "realtime.response", "status": "completed", "output": []});
                answers.push(json!({"type": "response.done", "response": response}));
            }
            _ => {}
        }
        for answer in answers {
            if socket.send(say(answer)).await.is_err() {
                return;
            }
        }
    }
}
