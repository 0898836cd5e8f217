//! The outbox's storage is the layer's (`pkg/src/storage.js`): what is to be written there, and what was found.

use super::{Core, Current, now};
use crate::convert::{text, whole};
use crate::error::of_answer;
use crate::frame::Frame;
use js_sys::Array;
use tautline_machine::client::{Adopted, Answer, Input};
use tautline_protocol::limits::{CLIENT_ASIDE, CLIENT_ASIDE_MS};
use wasm_bindgen::prelude::*;

impl Core {
    /// An entry is to be written: `[id, sent, type, payload, ttlMs, ageMs, sentAgeMs?]`.
    pub(super) fn store(&self, id: &str, sent: bool) {
        let row: Option<Array> = self.ask(|machine| {
            let entry = machine.entry(id, now())?;
            let ms = |ms: u64| JsValue::from(ms as f64);
            let row = [
                id.into(),
                sent.into(),
                entry.kind.into(),
                entry.payload.into(),
                ms(entry.ttl_ms),
                ms(entry.age_ms),
                entry.sent_age_ms.map_or(JsValue::UNDEFINED, ms),
            ];
            Some(row.iter().collect())
        });
        if let Some(row) = row {
            self.emit("store", &row);
        }
    }

    /// Connected: whose entries are looked for is in the server's own words, `[address, frame, asideMost, asideMs]`.
    pub(super) fn adopt(&self, current: Option<Current<'_>>) {
        let url = self.socket_url().map_or(JsValue::UNDEFINED, JsValue::from);
        let frame = current.map_or(JsValue::UNDEFINED, |current| current.frame.clone().into());
        let (most, ms) = (CLIENT_ASIDE as f64, CLIENT_ASIDE_MS as f64);
        self.emit("adopt", &Array::of4(&url, &frame, &most.into(), &ms.into()));
    }

    /// An entry failed for good: `[id, error]`.
    pub(super) fn set_aside(&self, id: &str, answer: &Answer, current: Option<Current<'_>>) {
        let frame = current
            .filter(|current| current.kind == "nack")
            .map(|current| current.frame);
        let said = frame.and_then(Frame::said);
        if let Some(error) = of_answer(answer, said, None, false) {
            self.emit("aside", &Array::of2(&id.into(), &error));
        }
    }

    /// What storage has handed over: `[id, type, payload, ttlMs, ageMs, sentAgeMs?]` each, and ids of entries lost.
    pub(crate) fn adopted(&self, answer: bool, entries: &Array, lost: &Array) {
        self.input(Input::Adopted {
            answer,
            entries: entries.iter().filter_map(entry).collect(),
            lost: lost.iter().filter_map(|id| text(&id)).collect(),
        });
    }
}

fn entry(row: JsValue) -> Option<Adopted> {
    let row: Array = row.dyn_into().ok()?;
    Some(Adopted {
        id: text(&row.get(0))?,
        kind: text(&row.get(1))?,
        payload: text(&row.get(2))?,
        ttl_ms: whole(&row.get(3))?,
        age_ms: whole(&row.get(4))?,
        sent_age_ms: whole(&row.get(5)),
    })
}
