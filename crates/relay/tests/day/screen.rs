//! Screens that stay all day: a kitchen's, which moves orders on, one beside it, and the till's, which completes them.

use crate::line::{Leave, Position, Socket, ask, token};
use crate::{Day, RESTAURANTS};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Each restaurant's, and what each moves orders to.
pub(crate) const ROLES: [(&str, &[&str]); 3] = [
    ("kitchen", &["preparing", "ready", "picked-up"]),
    ("kitchen", &[]),
    ("server", &["completed"]),
];
/// Minutes in which a token runs out; it is renewed at half of that.
const TOKEN_LIVES: f64 = 40.0;
/// Minutes from one step of an order to the next.
const STEP: f64 = 4.0;

/// What a screen shows: each order's state.
pub(crate) type Board = BTreeMap<String, String>;

struct Screen {
    day: Rc<Day>,
    who: String,
    key: (&'static str, usize),
    moves: &'static [&'static str],
    position: Position,
    board: Board,
    /// When which order is moved on.
    due: BTreeMap<String, f64>,
    commands: u64,
}

impl Screen {
    /// The next state of an order, if it is this screen's to say.
    fn next(&self, status: &str) -> Option<&'static str> {
        let after = match status {
            "new" => "preparing",
            "preparing" => "ready",
            "ready" => "picked-up",
            "picked-up" => "completed",
            _ => return None,
        };
        self.moves.contains(&after).then_some(after)
    }

    fn shows(&mut self, id: &str, status: &str) {
        self.board.insert(id.to_owned(), status.to_owned());
        self.due.remove(id);
        if self.next(status).is_some() {
            self.due.insert(
                id.to_owned(),
                self.day.minute() + self.day.plan.of_people(STEP),
            );
        }
    }

    fn gone(&mut self, id: &str) {
        self.board.remove(id);
        self.due.remove(id);
    }

    fn take(&mut self, frame: &Value) {
        let day = Rc::clone(&self.day);
        self.position.take(&day, &self.who, frame);
        let payload = &frame["payload"];
        let of = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
        match frame["type"].as_str().unwrap() {
            "sync_complete" => {
                if payload["part"] == 1 {
                    self.board.clear();
                    self.due.clear();
                }
                for order in payload["orders"].as_array().unwrap() {
                    self.shows(&of(order, "id"), &of(order, "status"));
                }
            }
            "order:created" | "order:updated" => {
                let order = &payload["order"];
                self.shows(&of(order, "id"), &of(order, "status"));
            }
            "order:status_changed" => self.shows(&of(payload, "order_id"), &of(payload, "status")),
            "order:deleted" => self.gone(&of(payload, "order_id")),
            "orders:archived" => {
                for id in payload["order_ids"].as_array().unwrap() {
                    self.gone(id.as_str().unwrap());
                }
            }
            "auth:success" => day.count("renewals"),
            "ack" => day.count("moves"),
            "nack" | "error" => day.count("refusals"),
            _ => {}
        }
        let mut boards = day.boards.borrow_mut();
        boards.insert(self.key, self.board.clone());
    }

    /// Moves on what is due; one that is not heard of again is moved again.
    async fn act(&mut self, socket: &mut Socket) -> Option<()> {
        let now = self.day.minute();
        let due: Vec<String> = self
            .due
            .iter()
            .filter(|&(_, &at)| at <= now)
            .map(|(id, _)| id.clone())
            .take(5)
            .collect();
        for id in due {
            let Some(next) = self.board.get(&id).and_then(|status| self.next(status)) else {
                continue;
            };
            self.due
                .insert(id.clone(), now + self.day.plan.of_people(STEP));
            self.commands += 1;
            let name = format!("{}-{}", self.who, self.commands);
            let command = json!({"type": "order:update_status", "id": name, "payload": {"order_id": id, "status": next}});
            socket.send(command).await?;
        }
        Some(())
    }

    /// One connection, until it is lost or the day is over.
    async fn attend(&mut self, mut socket: Socket) {
        let day = Rc::clone(&self.day);
        let mut renew_at = day.minute() + day.plan.of_people(TOKEN_LIVES / 2.0);
        loop {
            if day.closed.get() {
                return socket.leave(&day, Leave::Close).await;
            }
            let sent = async {
                if day.minute() >= renew_at {
                    renew_at = day.minute() + day.plan.of_people(TOKEN_LIVES / 2.0);
                    let token = self.token().await;
                    socket.send(json!({"type": "auth", "token": token})).await?;
                }
                self.act(&mut socket).await
            };
            if sent.await.is_none() {
                break;
            }
            tokio::select! {
                frame = socket.next() => match frame {
                    Some(frame) => self.take(&frame),
                    None => break,
                },
                () = day.minutes(0.5) => {}
            }
        }
        day.count("screens' connections lost");
    }

    async fn token(&self) -> String {
        let (restaurant, number) = self.key;
        let role = ROLES[number].0;
        let lives = (self.day.plan.of_people(TOKEN_LIVES) * 60.0) as u64;
        let query = format!(
            "restaurant_id={restaurant}&role={role}&sub={}&ttl={lives}s",
            self.who
        );
        token(&self.day, &query).await
    }
}

/// A screen, for as long as the day lasts.
pub(crate) async fn run(day: Rc<Day>, restaurant: &'static str, number: usize) {
    let mut screen = Screen {
        who: format!("screen-{restaurant}-{number}"),
        key: (restaurant, number),
        moves: ROLES[number].1,
        position: Position::default(),
        board: Board::new(),
        due: BTreeMap::new(),
        commands: 0,
        day: Rc::clone(&day),
    };
    while !day.closed.get() {
        let token = screen.token().await;
        let resume = screen.position.resume();
        let auth = json!({"type": "auth", "token": token, "protocol": "tautline.v1", "sync": true, "resume": resume, "client": {"name": "kds"}});
        match Socket::enter(&day, "/ws", "127.0.0.1", auth).await {
            Some((socket, success)) => {
                screen.position.entered(&success, true);
                screen.attend(socket).await;
            }
            None => {
                day.count("connections that did not come about");
                day.minutes(0.5).await;
            }
        }
    }
}

/// What each restaurant's screens show is what the relay has.
pub(crate) async fn all_agree(day: &Rc<Day>) {
    for restaurant in RESTAURANTS {
        let query = format!("restaurant_id={restaurant}&role=manager&sub=auditor&ttl=24h");
        let token = token(day, &query).await;
        let path = format!("/api/v1/restaurants/{restaurant}/orders?limit=200");
        day.relay
            .until("screens show what the relay has", || async {
                let mut truth = Board::new();
                let mut cursor = String::new();
                loop {
                    let Some(answer) =
                        ask(day, "GET", &format!("{path}{cursor}"), &token, &[], "").await
                    else {
                        return false;
                    };
                    let page = answer.json();
                    for order in page["orders"].as_array().unwrap() {
                        let of = |name: &str| order[name].as_str().unwrap().to_owned();
                        truth.insert(of("id"), of("status"));
                    }
                    match page["next_cursor"].as_str() {
                        Some(next) => cursor = format!("&cursor={next}"),
                        None => break,
                    }
                }
                let boards = day.boards.borrow();
                (0..ROLES.len()).all(|number| boards.get(&(restaurant, number)) == Some(&truth))
            })
            .await;
    }
}
