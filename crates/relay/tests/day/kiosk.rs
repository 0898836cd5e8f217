//! A kiosk that is spoken to over `/voice-stream`, and the ways in which its customers go.

use crate::Day;
use crate::line::{Leave, Socket, address, token};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use std::rc::Rc;

/// A quarter of a second of a tone, as PCM16 at 24 kHz.
fn sound() -> String {
    let sample = |n: u32| {
        let phase = f64::from(n) * 440.0 * std::f64::consts::TAU / 24_000.0;
        (phase.sin() * 9_000.0) as i16
    };
    let bytes: Vec<u8> = (0..6_000).flat_map(|n| sample(n).to_le_bytes()).collect();
    BASE64_STANDARD.encode(bytes)
}

pub(crate) async fn visit(day: &Rc<Day>, restaurant: &'static str, number: u64) {
    let query = format!("restaurant_id={restaurant}&role=kiosk&sub=kiosk-{number}&ttl=1h");
    let token = token(day, &query).await;
    let auth = json!({"type": "auth", "token": token, "restaurant_id": restaurant});
    let entered = Socket::enter(day, "/voice-stream", &address(number), auth).await;
    let Some((mut socket, _)) = entered else {
        return day.count("connections that did not come about");
    };
    let start =
        json!({"type": "session.start", "session_config": {"loopback": number.is_multiple_of(2)}});
    let talk = async {
        socket.send(start).await?;
        for _ in 0..day.chance(2, 12) {
            socket
                .send(json!({"type": "audio", "audio": sound()}))
                .await?;
            day.minutes(0.1).await;
        }
        loop {
            let event = socket.next().await?;
            match event["type"].as_str()? {
                "session.started" => return Some(()),
                "error" => return None,
                _ => {}
            }
        }
    };
    if talk.await.is_none() {
        return day.count("voice sessions broken off");
    }
    day.count("voice sessions held");
    if number.is_multiple_of(3) {
        let _ = socket.send(json!({"type": "session.stop"})).await;
    }
    socket.leave(day, Leave::by(day.chance(0, 99))).await;
}
