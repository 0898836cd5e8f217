//! What people do at a page: commands, filters, signing in.

use crate::oracle::Wanted;
use crate::page::{Env, Page};
use crate::relay::token;
use crate::wire::SimOrder;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tautline_machine::Rng;
use tautline_machine::client::{Command, Input, Patch, Token, TokenAnswer, TokenReason};
use tautline_protocol::ErrorCode;

impl Page {
    /// Someone touches the screen.
    pub fn act(&mut self, now: u64, env: &mut Env<'_>) {
        let some = self.orders.len();
        let pick = if some > 0 {
            self.orders
                .iter()
                .nth(env.rng.between(0, some as u64 - 1) as usize)
                .cloned()
        } else {
            None
        };
        let (kind, payload, overlay) = match (env.rng.between(0, 9), pick) {
            (0..=4, Some(SimOrder(order))) => {
                let path = [
                    "new",
                    "pending",
                    "confirmed",
                    "preparing",
                    "ready",
                    "picked-up",
                    "completed",
                ];
                let at = path.iter().position(|&s| order["status"] == s).unwrap_or(0);
                let step = [0, 1, 1, 1, 2, 6][env.rng.between(0, 5) as usize];
                let status = path[(at + step).min(6)];
                let id = order["id"].as_str().unwrap().to_owned();
                let mut payload = json!({"order_id": id, "status": status});
                if env.rng.between(0, 1) == 0 {
                    payload["expected_status"] = order["status"].clone();
                }
                (
                    "order:update_status",
                    payload,
                    Some((id, Patch::Status(status.to_owned()))),
                )
            }
            (5 | 6, Some(SimOrder(order))) => {
                let item = order["items"][0]["id"].as_str().unwrap().to_owned();
                let status = ["preparing", "ready", "served"][env.rng.between(0, 2) as usize];
                let id = order["id"].as_str().unwrap().to_owned();
                let payload = json!({"order_id": id, "item_id": item, "status": status});
                (
                    "order:update_item_status",
                    payload,
                    Some((
                        id,
                        Patch::ItemStatus {
                            item_id: item,
                            status: status.to_owned(),
                        },
                    )),
                )
            }
            (7, Some(SimOrder(order))) => (
                "order:cancel",
                json!({"order_id": order["id"], "reason": "gone home"}),
                None,
            ),
            _ => ("order:create", json!({"order": new_order(env.rng)}), None),
        };
        let command = Command {
            kind: kind.to_owned(),
            payload: payload.to_string(),
            id: None,
            ttl_ms: None,
            timeout_ms: (env.rng.between(0, 2) > 0).then(|| env.rng.between(2_000, 20_000)),
            until_shown: self.want_set,
            sent_at: None,
        };
        match self.client.send(command, self.time(now)) {
            Ok(id) => {
                if let Some((order, patch)) = overlay {
                    self.orders.overlay(id.clone(), order, patch);
                }
                assert!(self.sent.insert(id), "an id was made twice");
                self.tally.commands += 1;
            }
            Err(failure) => {
                self.tally.full_outboxes += u64::from(failure.code == ErrorCode::OutboxFull);
            }
        }
        self.drain(now, env);
    }

    /// What somebody who stands at the screen sets it to.
    pub fn filter(&mut self, now: u64, env: &mut Env<'_>) {
        let filter = match env.rng.between(0, 6) {
            0 => None,
            1 => Some(json!({"events": ["order:*"], "filters": {"station": ["grill"]}})),
            2 => Some(
                json!({"events": ["order:*", "menu:*"], "filters": {"station": ["bar", "cold"]}}),
            ),
            3 => Some(json!({"filters": {"table_number": ["1", "2"]}})),
            4 => Some(json!({"filters": {"statuses": ["new", "pending", "confirmed"]}})),
            5 => Some(
                json!({"events": ["order:*"], "filters": {"statuses": ["ready"], "table_number": ["1", "3"]}}),
            ),
            _ => Some(json!({"events": ["menu:*", "payment:processed"]})),
        };
        self.wanted = filter.as_ref().map(Wanted::read).unwrap_or_default();
        let filter = filter.map(|filter| filter.to_string());
        self.input(Input::SetFilter(filter), now, env);
    }

    /// `getToken` of this page.
    pub fn token(&mut self, reason: TokenReason, env: &mut Env<'_>) -> TokenAnswer {
        let wall = env.wall(&self.home);
        let mut life = 3_600_000;
        let mut sub = format!("page-{}", self.index);
        if env.rough {
            life = match env.rng.between(0, 19) {
                0 => return TokenAnswer::None,
                1 => return TokenAnswer::Failed,
                // A page that cached an old token.
                2 => 0,
                3..=7 => env.rng.between(8_000, 45_000),
                _ => life,
            };
            // Somebody else signed in, and the page asks in that name.
            if reason == TokenReason::Renew && env.rng.between(0, 3) == 0 {
                sub = format!("other-{}", self.index);
            }
        }
        let expiry = if life == 0 {
            wall.saturating_sub(60_000)
        } else {
            wall + life + env.rng.between(0, 999)
        };
        TokenAnswer::Token(Token::new(token(
            &sub,
            self.home.role,
            &self.home.ids,
            expiry,
        )))
    }

    /// Somebody else takes over at the screen, with other rights; the page renews its token at once.
    pub fn becomes(
        &mut self,
        role: &'static str,
        ids: BTreeSet<String>,
        now: u64,
        env: &mut Env<'_>,
    ) {
        (self.home.role, self.home.ids) = (role, ids);
        let wall = env.wall(&self.home);
        let expiry = wall + env.rng.between(20_000, 3_600_000);
        let token = token(
            &format!("page-{}", self.index),
            role,
            &self.home.ids,
            expiry,
        );
        self.tally.role_changes += 1;
        self.input(Input::SetToken(Token::new(token)), now, env);
    }
}

pub fn new_order(rng: &mut Rng) -> Value {
    let items: Vec<Value> = (0..rng.between(1, 3))
        .map(|n| {
            let station = ["grill", "bar", "cold"][rng.between(0, 2) as usize];
            json!({"menu_item_id": format!("m{n}"), "name": "Soup", "quantity": rng.between(1, 4), "price": 5.5, "station": station})
        })
        .collect();
    // Large now and then, so that sets come in several parts and sockets fill up.
    let notes = "x".repeat(if rng.between(0, 3) == 0 {
        rng.between(0, 1_800) as usize
    } else {
        0
    });
    let table = rng.between(1, 4).to_string();
    json!({"type": "dine-in", "items": items, "notes": notes, "table_number": table, "metadata": {"private": {"margin": 3}, "party": 2}})
}
