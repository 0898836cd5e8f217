//! Customers: a page that follows its order, or two requests.

use crate::Day;
use crate::line::{Leave, Position, Socket, address, ask, order, token};
use serde_json::json;
use std::rc::Rc;

/// Orders by a socket and watches until the order is ready, or patience ends.
pub(crate) async fn by_socket(day: &Rc<Day>, restaurant: &'static str, number: u64) {
    let who = format!("guest-{number}");
    let query = format!("restaurant_id={restaurant}&role=customer&sub={who}&ttl=2h");
    let token = token(day, &query).await;
    let patience = day.minute() + day.plan.of_people(day.chance(10, 40) as f64);
    let mut position = Position::default();
    let mut ordered = None::<String>;
    while day.minute() < patience {
        let resume = position.resume();
        let auth = json!({"type": "auth", "token": token, "protocol": "tautline.v1", "resume": resume, "client": {"name": "page"}});
        let entered = Socket::enter(day, "/ws", &address(number), auth).await;
        let Some((mut socket, success)) = entered else {
            day.count("connections that did not come about");
            day.minutes(0.2).await;
            continue;
        };
        position.entered(&success, false);
        if ordered.is_none() {
            // Under one id, however often it takes.
            let command =
                json!({"type": "order:create", "id": who, "payload": {"order": order(number)}});
            let _ = socket.send(command).await;
        }
        let end = tokio::time::Instant::now() + day.takes(patience - day.minute());
        loop {
            let frame = tokio::select! {
                frame = socket.next() => frame,
                () = tokio::time::sleep_until(end) => {
                    return socket.leave(day, Leave::by(day.chance(0, 99))).await;
                }
            };
            let Some(frame) = frame else {
                day.count("connections lost");
                break;
            };
            position.take(day, &who, &frame);
            match frame["type"].as_str().unwrap() {
                "ack" => {
                    let id = frame["payload"]["result"]["order"]["id"].as_str();
                    ordered = Some(id.unwrap().to_owned());
                    day.count("orders by socket");
                }
                "nack" => day.count("refusals"),
                "order:status_changed" if frame["payload"]["status"] == "ready" => {
                    assert_eq!(frame["payload"]["order_id"].as_str(), ordered.as_deref());
                    return socket.leave(day, Leave::by(day.chance(0, 99))).await;
                }
                _ => {}
            }
        }
    }
}

/// Orders by a request and looks later, or does not; now and then takes a secret for a call that never comes.
pub(crate) async fn by_request(day: &Rc<Day>, restaurant: &'static str, number: u64) {
    let who = format!("till-{number}");
    let query = format!("restaurant_id={restaurant}&role=server&sub={who}&ttl=1h");
    let token = token(day, &query).await;
    let from = address(number);
    let headers = [
        ("idempotency-key", who.as_str()),
        ("x-forwarded-for", from.as_str()),
        ("content-type", "application/json"),
    ];
    let path = format!("/api/v1/restaurants/{restaurant}/orders");
    let body = order(number).to_string();
    let answer = loop {
        // Cut off, it may have been taken or not: the key says that it is the same one.
        match ask(day, "POST", &path, &token, &headers, &body).await {
            Some(answer) => break answer,
            None => day.count("requests that were cut off"),
        }
    };
    if answer.status != 201 {
        return day.count("refusals");
    }
    day.count("orders by request");
    if number.is_multiple_of(4) {
        let path = "/v1/realtime/client_secrets";
        if ask(day, "POST", path, &token, &headers[1..], "{}")
            .await
            .is_some()
        {
            day.count("secrets");
        }
    }
    day.minutes(10.0).await;
    let path = format!("{path}/{}", answer.json()["id"].as_str().unwrap());
    if let Some(seen) = ask(day, "GET", &path, &token, &headers[1..2], "").await {
        assert_eq!(seen.status, 200, "{seen:?}");
    }
}
