//! Every cell of the permission table over every transport: socket in both dialects and HTTP; live, resumed and by
//! snapshot. What is expected is read off `permission::TABLE`, which a unit test compares with the papers.

use crate::signer::seconds;
use crate::support::*;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tautline_protocol::permission::{Case, Operation, Rule, rule};
use tautline_protocol::{ItemStatus, OrderStatus, Role};

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

/// A token whose `sub` is the role's name.
fn token(role: Role, order_ids: &[&str]) -> String {
    let claims = json!({"sub":role.as_str(),"restaurant_id":"demo","role":role.as_str(),
        "exp":seconds() + 3600,"iat":seconds(),"order_ids":order_ids});
    jsonwebtoken::encode(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(SECRET),
    )
    .unwrap()
}

fn start(data: &std::path::Path) -> Relay {
    let secret = data.join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    Relay::start_bare(
        std::path::Path::new(":memory:"),
        &[
            "--jwt-secret-file",
            secret.to_str().unwrap(),
            "--rate-limit",
            "100000/s,burst=100000",
        ],
    )
}

/// What somebody tries to do.
#[derive(Clone, Debug)]
enum Try {
    Create,
    Status(String, OrderStatus),
    Item(String, ItemStatus),
    Cancel(String),
}

impl Try {
    fn frame(&self, id: Option<&str>) -> Value {
        let mut frame = match self {
            Self::Create => {
                json!({"type":"order:create","payload":{"order":serde_json::from_str::<Value>(&burger("1")).unwrap()}})
            }
            Self::Status(order, to) => {
                json!({"type":"order:update_status","payload":{"order_id":order,"status":to.as_str()}})
            }
            Self::Item(order, to) => {
                json!({"type":"order:update_item_status","payload":{"order_id":order,"item_id":"i","status":to.as_str()}})
            }
            Self::Cancel(order) => json!({"type":"order:cancel","payload":{"order_id":order}}),
        };
        if let Some(id) = id {
            frame["id"] = json!(id);
        }
        frame
    }

    /// The request that means the same, where HTTP has one.
    fn request(&self) -> Option<(&'static str, String, String)> {
        Some(match self {
            Self::Create => ("POST", ORDERS.into(), burger("1")),
            Self::Status(order, to) => (
                "PATCH",
                format!("{ORDERS}/{order}/status"),
                json!({"status":to.as_str()}).to_string(),
            ),
            Self::Item(order, to) => (
                "PATCH",
                format!("{ORDERS}/{order}/items/i/status"),
                json!({"status":to.as_str()}).to_string(),
            ),
            Self::Cancel(_) => return None,
        })
    }
}

/// One role's connections.
struct Actor {
    token: String,
    v1: Client,
    plain: Client,
    http: Http,
    asked: u32,
}

impl Actor {
    async fn new(relay: &Relay, role: Role) -> Self {
        let token = token(role, &[]);
        // No events: only answers come.
        let quiet = json!({"subscribe":{"events":[]}});
        let (v1, _) = Client::v1(relay, &token, quiet).await;
        let mut plain = Client::open(relay).await;
        plain.expect("connected").await;
        plain.send(json!({"type":"auth","token":token})).await;
        plain.expect("auth:success").await;
        Self {
            http: relay.http().await,
            token,
            v1,
            plain,
            asked: 0,
        }
    }

    /// `Ok`, or the code of the refusal.
    async fn by_v1(&mut self, what: &Try) -> Result<(), String> {
        self.asked += 1;
        let id = format!("t{}", self.asked);
        self.v1.send(what.frame(Some(&id))).await;
        loop {
            let answer = self.v1.next().await;
            match answer["type"].as_str().unwrap() {
                "ack" => {
                    assert_eq!(answer["id"], id);
                    return Ok(());
                }
                "nack" => return Err(answer["error"]["code"].as_str().unwrap().into()),
                "cursor" => {}
                other => panic!("{other}"),
            }
        }
    }

    /// A plain connection is told of refusals only, in order: a command that is always refused says that none came.
    async fn by_plain(&mut self, what: &Try) -> Result<(), String> {
        self.plain.send(what.frame(None)).await;
        self.plain
            .send(json!({"type":"order:no_such_command"}))
            .await;
        let mut refused = Ok(());
        loop {
            let frame = self.plain.next().await;
            if frame["type"] != "error" {
                continue;
            }
            if frame["ref_type"] == "order:no_such_command" {
                return refused;
            }
            refused = Err(frame["error"]["code"].as_str().unwrap().into());
        }
    }

    async fn by_http(&mut self, what: &Try) -> Option<Result<(), String>> {
        let (method, path, body) = what.request()?;
        Some(self.request(method, &path, &body).await)
    }

    async fn request(&mut self, method: &str, path: &str, body: &str) -> Result<(), String> {
        let answer = self
            .http
            .send(method, path, &self.token, &[], body)
            .await
            .unwrap();
        if answer.status < 300 {
            return Ok(());
        }
        let code = answer.json()["code"].as_str().unwrap().to_owned();
        let status = match code.as_str() {
            "forbidden" => 403,
            "not_found" => 404,
            "invalid_transition" => 409,
            other => panic!("{other}: {answer:?}"),
        };
        assert_eq!(answer.status, status, "{answer:?}");
        Err(code)
    }
}

struct Till {
    http: Http,
    token: String,
    orders: u32,
}

impl Till {
    /// States an order as a fact.
    async fn order(&mut self, owner: &str, status: OrderStatus, item: ItemStatus) -> String {
        self.orders += 1;
        let id = format!("f{}", self.orders);
        self.publish(
            "order:created",
            json!({"order":{"id":id,"created_by":owner,"status":status.as_str(),"customer_phone":"0791112233",
                "items":[{"id":"i","status":item.as_str()}]}}),
        )
        .await;
        id
    }

    async fn publish(&mut self, kind: &str, payload: Value) -> u64 {
        let body = json!({"type":kind,"payload":payload}).to_string();
        let answer = self.http.post(EVENTS, &self.token, &body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.json()["seq"].as_u64().unwrap()
    }
}

async fn till(relay: &Relay) -> Till {
    Till {
        http: relay.http().await,
        token: token(Role::Service, &[]),
        orders: 0,
    }
}

fn case(own: bool) -> Case {
    Case {
        own,
        ..Case::default()
    }
}

/// What the table says of a change: what cannot be seen is not there, what the role never does is forbidden, what no
/// role may do is no transition, and the rest is the cell's.
fn verdict(
    role: Role,
    operation: Operation,
    never: Operation,
    same: bool,
    possible: bool,
    case: Case,
) -> Result<(), String> {
    if !rule(role, Operation::SeeOrders).allows(case) {
        return Err("not_found".into());
    }
    if rule(role, never) == Rule::Never {
        return Err("forbidden".into());
    }
    if same {
        return Ok(());
    }
    if !possible {
        return Err("invalid_transition".into());
    }
    if rule(role, operation).allows(case) {
        Ok(())
    } else {
        Err("forbidden".into())
    }
}

#[tokio::test]
async fn every_change_by_every_role_over_every_transport() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path());
    let mut till = till(&relay).await;
    let (mut cells, mut allowed) = (0, 0);
    for role in Role::ALL {
        let mut actor = Actor::new(&relay, role).await;
        let create = if rule(role, Operation::Create) == Rule::Never {
            Err("forbidden".to_owned())
        } else {
            Ok(())
        };
        assert_eq!(actor.by_v1(&Try::Create).await, create, "{role:?} creates");
        assert_eq!(
            actor.by_plain(&Try::Create).await,
            create,
            "{role:?} creates"
        );
        assert_eq!(
            actor.by_http(&Try::Create).await,
            Some(create),
            "{role:?} creates"
        );
        // Whose the order is matters to those who see their own only.
        let owners: &[bool] = if role.is_staff() {
            &[false]
        } else {
            &[true, false]
        };
        for &own in owners {
            let owner = if own { role.as_str() } else { "somebody" };
            let mut all: Vec<(Try, Result<(), String>, OrderStatus, ItemStatus)> = Vec::new();
            for from in OrderStatus::ALL {
                for to in OrderStatus::ALL {
                    let (operation, never) = match to {
                        OrderStatus::Cancelled => (Operation::Cancel, Operation::Cancel),
                        _ if to > from => (Operation::Forward, Operation::Forward),
                        _ => (Operation::Back, Operation::Forward),
                    };
                    let case = Case {
                        own,
                        from: Some(from),
                        to: Some(to),
                        ..Case::default()
                    };
                    let expected = verdict(
                        role,
                        operation,
                        never,
                        from == to,
                        from.may_become(to),
                        case,
                    );
                    let what = Try::Status(String::new(), to);
                    all.push((what, expected.clone(), from, ItemStatus::Pending));
                    if to == OrderStatus::Cancelled {
                        let what = Try::Cancel(String::new());
                        all.push((what, expected, from, ItemStatus::Pending));
                    }
                }
            }
            for from in ItemStatus::ALL {
                for to in ItemStatus::ALL {
                    let case = Case {
                        own,
                        item: Some(to),
                        ..Case::default()
                    };
                    let operation = Operation::ItemStatus;
                    let expected = verdict(
                        role,
                        operation,
                        operation,
                        from == to,
                        from.may_become(to),
                        case,
                    );
                    all.push((
                        Try::Item(String::new(), to),
                        expected,
                        OrderStatus::New,
                        from,
                    ));
                }
            }
            for (what, expected, status, item) in all {
                for transport in ["v1", "plain", "http"] {
                    let order = till.order(owner, status, item).await;
                    let what = match &what {
                        Try::Status(_, to) => Try::Status(order, *to),
                        Try::Item(_, to) => Try::Item(order, *to),
                        Try::Cancel(_) => Try::Cancel(order),
                        Try::Create => Try::Create,
                    };
                    let got = match transport {
                        "v1" => actor.by_v1(&what).await,
                        "plain" => actor.by_plain(&what).await,
                        _ => match actor.by_http(&what).await {
                            Some(got) => got,
                            None => continue,
                        },
                    };
                    assert_eq!(
                        got, expected,
                        "{role:?}, own {own}, {what:?} from {status:?}/{item:?} by {transport}"
                    );
                    cells += 1;
                    allowed += u32::from(got.is_ok());
                }
            }
            // By HTTP alone: taking an order out, publishing, reading the log, the sessions.
            let may = |operation| rule(role, operation).allows(case(own));
            let as_told = |allowed| {
                if allowed {
                    Ok(())
                } else {
                    Err("forbidden".to_owned())
                }
            };
            let order = till
                .order(owner, OrderStatus::New, ItemStatus::Pending)
                .await;
            let deleted = actor
                .request("DELETE", &format!("{ORDERS}/{order}"), "")
                .await;
            let expected = if may(Operation::SeeOrders) {
                as_told(may(Operation::Delete))
            } else {
                Err("not_found".into())
            };
            assert_eq!(deleted, expected, "{role:?} deletes, own {own}");
            for (kind, payload) in [
                ("menu:updated", json!({})),
                ("order:deleted", json!({"order_id":order})),
            ] {
                if deleted.is_ok() && kind == "order:deleted" {
                    continue;
                }
                let body = json!({"type":kind,"payload":payload}).to_string();
                let published = actor.request("POST", EVENTS, &body).await;
                assert_eq!(
                    published,
                    as_told(may(Operation::Publish)),
                    "{role:?} publishes {kind}"
                );
            }
            let log = actor.request("GET", EVENTS, "").await;
            assert_eq!(
                log,
                as_told(may(Operation::ReadLog)),
                "{role:?} reads the log"
            );
            for (method, path) in [
                ("GET", "/api/v1/diagnostics"),
                ("GET", "/api/v1/sessions"),
                ("DELETE", "/api/v1/sessions/none"),
            ] {
                let sessions = actor.request(method, path, "").await;
                let expected = match (may(Operation::Sessions), method) {
                    (true, "DELETE") => Err("not_found".to_owned()),
                    (allowed, _) => as_told(allowed),
                };
                assert_eq!(sessions, expected, "{role:?} {method} {path}");
            }
        }
    }
    assert!(
        cells > 2_000 && allowed > 300,
        "{cells} cells, {allowed} allowed"
    );
}

/// Ids of the orders in a snapshot's frames, all parts.
fn ids(snapshots: &[Value]) -> BTreeSet<String> {
    let parts = snapshots
        .iter()
        .flat_map(|frame| frame["payload"]["orders"].as_array().unwrap());
    parts
        .map(|order| order["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn every_sight_by_every_role_live_resumed_and_by_snapshot() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path());
    let mut till = till(&relay).await;
    let mut live = Vec::new();
    // `named` of the customer's token is somebody else's order that its token names.
    for role in Role::ALL {
        let token = token(role, &["f3"]);
        let (v1, _) = Client::v1(&relay, &token, json!({})).await;
        let mut plain = Client::open(&relay).await;
        plain.expect("connected").await;
        plain.send(json!({"type":"auth","token":token})).await;
        plain.expect("auth:success").await;
        live.push((role, token, v1, plain));
    }
    let mut published: Vec<(u64, Operation, Option<String>)> = Vec::new();
    let mut orders = Vec::new();
    for owner in ["customer", "somebody", "somebody", "kiosk"] {
        let id = till
            .order(owner, OrderStatus::New, ItemStatus::Pending)
            .await;
        published.push((till.orders.into(), Operation::SeeOrders, Some(owner.into())));
        orders.push((id, owner));
    }
    for (id, owner) in &orders {
        let seq = till
            .publish(
                "order:status_changed",
                json!({"order_id":id,"status":"preparing"}),
            )
            .await;
        published.push((seq, Operation::SeeOrders, Some((*owner).into())));
        let seq = till
            .publish("payment:processed", json!({"order_id":id,"amount":"9.50"}))
            .await;
        published.push((seq, Operation::SeePayments, Some((*owner).into())));
    }
    for (kind, operation) in [
        ("menu:updated", Operation::SeeMenu),
        ("table:updated", Operation::SeeOthers),
        ("kds:update", Operation::SeeOthers),
    ] {
        published.push((till.publish(kind, json!({})).await, operation, None));
    }
    let last = till.publish("menu:updated", json!({"last":true})).await;
    published.push((last, Operation::SeeMenu, None));
    // What the third order's token-named owner sees of it: the order is named by every token here.
    let of_order = |seq: u64| match seq {
        1..=4 => Some(seq),
        5..=12 => Some((seq - 5) / 2 + 1),
        _ => None,
    };
    for (role, token, mut v1, mut plain) in live {
        let own = |seq: u64, owner: &Option<String>| {
            owner.as_deref() == Some(role.as_str()) || of_order(seq) == Some(3)
        };
        let expected: Vec<u64> = published
            .iter()
            .filter(|(seq, operation, owner)| rule(role, *operation).allows(case(own(*seq, owner))))
            .map(|(seq, ..)| *seq)
            .collect();
        let visible: BTreeSet<String> = orders
            .iter()
            .zip(1..)
            .filter(|((_, owner), n)| {
                rule(role, Operation::SeeOrders).allows(case(*owner == role.as_str() || *n == 3))
            })
            .map(|((id, _), _)| id.clone())
            .collect();
        let (mut resumed, answer) = {
            let (probe, answer) = Client::v1(&relay, &token, json!({})).await;
            drop(probe);
            let resume = json!({"resume":{"epoch":answer["epoch"],"seq":0}});
            Client::v1(&relay, &token, resume).await
        };
        assert_eq!(answer["resumed"], true);
        for (way, client) in [
            ("live v1", &mut v1),
            ("live plain", &mut plain),
            ("resumed", &mut resumed),
        ] {
            let (mut seen, mut position) = (Vec::new(), 0);
            while position < last {
                let frame = client.next().await;
                let seq = frame["seq"].as_u64().unwrap();
                if frame["type"] == "cursor" {
                    assert_eq!(frame["from"].as_u64(), Some(position), "{role:?} {way}");
                    assert_ne!(way, "live plain");
                } else {
                    assert!(
                        way == "live plain" || seq == position + 1,
                        "{role:?} {way}: a gap before {seq}"
                    );
                    seen.push(seq);
                    let updated_by = frame["payload"].get("updated_by").is_some();
                    assert!(!updated_by || role.is_staff(), "{role:?} {way}");
                }
                position = seq;
                assert!(
                    !frame.to_string().contains("0791112233"),
                    "{role:?} {way}: a phone number"
                );
            }
            assert_eq!(seen, expected, "{role:?} {way}");
        }
        let (mut fresh, _) = Client::v1(&relay, &token, json!({"sync":true})).await;
        assert_eq!(
            ids(&[fresh.expect("sync_complete").await]),
            visible,
            "{role:?} snapshot"
        );
        plain
            .send(json!({"type":"orders:sync","payload":{"request_full_sync":true}}))
            .await;
        assert_eq!(
            ids(&[plain.until("sync_complete").await]),
            visible,
            "{role:?} plain snapshot"
        );
        let mut http = relay.http().await;
        let listed = http.get(ORDERS, &token).await.json();
        let listed = json!({"payload":listed});
        assert_eq!(ids(&[listed]), visible, "{role:?} list");
        for ((id, owner), n) in orders.iter().zip(1..) {
            let answer = http.get(&format!("{ORDERS}/{id}"), &token).await;
            let own = *owner == role.as_str() || n == 3;
            assert_eq!(
                answer.status,
                if visible.contains(id) { 200 } else { 404 },
                "{role:?} {id}"
            );
            let phone = visible.contains(id) && rule(role, Operation::SeePhone).allows(case(own));
            assert_eq!(answer.body.contains("0791112233"), phone, "{role:?} {own}");
        }
    }
}

#[tokio::test]
async fn a_phone_number_is_shown_to_those_who_call_guests() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path());
    let mut http = relay.http().await;
    for maker in [Role::Customer, Role::Kiosk] {
        let body = json!({"type":"takeout","customer_phone":"0791112233",
            "items":[{"menu_item_id":"b","name":"Burger","quantity":1,"price":9.5}]});
        let made = http
            .post(ORDERS, &token(maker, &[]), &body.to_string())
            .await;
        assert_eq!(made.status, 201, "{made:?}");
        let order = made.json();
        assert_eq!(
            (&order["price_verified"], &order["payment_status"]),
            (&json!(false), &json!("pending"))
        );
        let path = format!("{ORDERS}/{}", order["id"].as_str().unwrap());
        for role in Role::ALL {
            let answer = http.get(&path, &token(role, &[])).await;
            let own = case(role == maker);
            let sees = rule(role, Operation::SeeOrders).allows(own);
            assert_eq!(answer.status, if sees { 200 } else { 404 }, "{role:?}");
            let phone = sees && rule(role, Operation::SeePhone).allows(own);
            assert_eq!(
                answer.body.contains("0791112233"),
                phone,
                "{role:?} of {maker:?}'s"
            );
        }
    }
}

#[tokio::test]
async fn a_renewed_token_with_another_role_holds_from_its_answer_on() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path());
    let mut till = till(&relay).await;
    let mine = till
        .order("manager", OrderStatus::New, ItemStatus::Pending)
        .await;
    let other = till
        .order("somebody", OrderStatus::New, ItemStatus::Pending)
        .await;
    let (mut client, _) =
        Client::v1(&relay, &token(Role::Manager, &[]), json!({"sync":true})).await;
    let all = ids(&[client.expect("sync_complete").await]);
    assert_eq!(all, BTreeSet::from([mine.clone(), other]));
    // The same `sub`, a guest from now on.
    let narrowed = {
        let claims = json!({"sub":"manager","restaurant_id":"demo","role":"customer","exp":seconds() + 3600,"iat":seconds()});
        jsonwebtoken::encode(
            &Header::default(),
            &claims,
            &EncodingKey::from_secret(SECRET),
        )
        .unwrap()
    };
    client.send(json!({"type":"auth","token":narrowed})).await;
    let answer = client.until("auth:success").await;
    assert_eq!(
        (&answer["renewal"], &answer["role"]),
        (&json!(true), &json!("customer"))
    );
    let left = client.until("sync_complete").await;
    assert_eq!(ids(&[left]), BTreeSet::from([mine]));
    let _ = till
        .order("somebody", OrderStatus::New, ItemStatus::Pending)
        .await;
    let menu = till.publish("menu:updated", json!({})).await;
    let cursor = client.expect("cursor").await;
    assert_eq!(cursor["seq"].as_u64(), Some(menu - 1));
    assert_eq!(
        client.expect("menu:updated").await["seq"].as_u64(),
        Some(menu)
    );
    client
        .send(json!({"type":"order:create","id":"c","payload":{"order":serde_json::from_str::<Value>(&burger("1")).unwrap()}}))
        .await;
    client.until("ack").await;
    client
        .send(json!({"type":"order:update_status","id":"d","payload":{"order_id":"f1","status":"ready"}}))
        .await;
    assert_eq!(client.until("nack").await["error"]["code"], "forbidden");
}

#[tokio::test]
async fn a_filter_is_acked_with_the_position_from_which_it_holds() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path());
    let mut till = till(&relay).await;
    let (mut client, success) = Client::v1(
        &relay,
        &token(Role::Kitchen, &[]),
        json!({"subscribe":{"events":["order:*"],"filters":{"statuses":["new"]}}}),
    )
    .await;
    till.order("a", OrderStatus::Ready, ItemStatus::Pending)
        .await;
    till.order("a", OrderStatus::New, ItemStatus::Pending).await;
    assert_eq!(client.expect("cursor").await["seq"], 1);
    assert_eq!(client.expect("order:created").await["seq"], 2);
    client
        .send(json!({"type":"subscribe","id":"s","payload":{"events":["table:updated"]}}))
        .await;
    let ack = client.expect("ack").await;
    assert_eq!(
        ack["payload"],
        json!({"epoch":success["epoch"],"seq":2,"result":{"events":["table:updated"],"filters":{}}})
    );
    till.order("a", OrderStatus::New, ItemStatus::Pending).await;
    till.publish("table:updated", json!({})).await;
    assert_eq!(client.expect("cursor").await["seq"], 3);
    assert_eq!(client.expect("table:updated").await["seq"], 4);
    // The head moves, and nothing of it is for this connection: a ping brings the position there.
    let head = till.publish("menu:updated", json!({})).await;
    client
        .send(json!({"type":"ping","payload":{"timestamp":1}}))
        .await;
    // Before the pong, or right after it when the relay had not looked at the event yet.
    let (mut position, mut confirmed) = (None, None);
    while position.is_none() || confirmed.is_none() {
        let frame = client.next().await;
        match frame["type"].as_str() {
            Some("cursor") => position = frame["seq"].as_u64(),
            Some("pong") => confirmed = frame["payload"]["seq"].as_u64(),
            _ => panic!("{frame}"),
        }
    }
    assert_eq!((position, confirmed), (Some(head), Some(head)));
    client
        .send(json!({"type":"subscribe","id":"t","payload":{"events":["Order"]}}))
        .await;
    assert_eq!(client.expect("nack").await["error"]["code"], "invalid");
    client.send(json!({"type":"unsubscribe","id":"u"})).await;
    assert_eq!(
        client.expect("ack").await["payload"]["seq"].as_u64(),
        Some(head)
    );
    till.publish("menu:updated", json!({})).await;
    client.expect("menu:updated").await;
}
