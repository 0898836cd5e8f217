//! Outputs, performed.

use super::{Core, Current, Heard};
use crate::error::Error;
use tautline_machine::client::{ConnectionState, Failure, Notice, Output};
use tautline_protocol::Stage;
use wasm_bindgen::prelude::*;

impl Core {
    pub(super) fn perform(&self, output: Output, current: Option<Current<'_>>) {
        match output {
            Output::ResolveUrl(attempt, address) => self.resolve_url(attempt, address),
            Output::FetchToken {
                attempt,
                reason,
                number,
            } => self.fetch_token(attempt, reason, number),
            Output::Open(attempt) => self.open(attempt),
            Output::Send(attempt, text) => self.write(attempt, &text),
            Output::Close(attempt, code, reason) => {
                self.close(attempt, code, reason);
                self.hang_up(attempt);
            }
            Output::Drop(attempt) => self.hang_up(attempt),
            Output::ProbeHealth(attempt) => self.probe_health(attempt),
            Output::Settle(waiter, result) => self.settle(waiter, result),
            Output::Deliver { seq } => {
                if let Some(current) = current
                    && !self.is_disposed()
                {
                    self.caused(current.frame);
                    self.order_event(current, seq);
                    self.publish(current);
                }
            }
            Output::CollectSnapshot { first } => {
                if let Some(orders) = current.and_then(|current| current.frame.orders()) {
                    self.collect_orders(first, &orders);
                }
            }
            Output::InstallSnapshot { seq } => self.install_orders(seq),
            Output::DiscardSnapshot => self.discard_orders(),
            Output::OrdersStale => self.orders_stale(),
            Output::Keep(id) => self.keep(&id, current),
            Output::Settled(id, answer) => self.settled(&id, &answer, current),
            Output::Store { id, sent } => self.store(&id, sent),
            Output::Unstore(id) => self.emit("unstore", &id.into()),
            Output::SetAside(id, answer) => self.set_aside(&id, &answer, current),
            Output::Adopt => self.adopt(current),
            Output::Tell(notice) => self.tell(notice),
            Output::Wait(_) => {}
        }
    }

    fn tell(&self, notice: Notice) {
        if notice == Notice::State(ConnectionState::Disconnected) {
            let gone = self.stop_waiting();
            drop(gone);
        }
        if self.options.pool.is_some() {
            return self.to_pool(Heard::Notice(notice));
        }
        match notice {
            Notice::State(state) => self.emit("stateChange", &state.as_str().into()),
            Notice::Outbox => self.emit("outbox", &JsValue::UNDEFINED),
            Notice::Error(failure) => {
                let error = self.failure(&failure);
                self.emit("error", &error);
            }
            Notice::Stale => self.emit("stale", &self.freshness()),
            Notice::Fresh => self.emit("fresh", &self.freshness()),
            other => self.emit_detail(other),
        }
    }

    /// An error of the machine's, with what the page threw when it was asked for the url or a token.
    pub(crate) fn failure(&self, failure: &Failure) -> JsValue {
        let error = Error::failure(failure);
        match failure.stage {
            Some(Stage::Url | Stage::Token | Stage::Socket) => {
                error.cause(self.take_cause()).make()
            }
            _ => error.make(),
        }
    }
}
