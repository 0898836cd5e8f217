//! Whom an event concerns: what visibility and filters look at, kept with the event so that a replay judges as the
//! first delivery did.

use serde::{Deserialize, Serialize};
use tautline_protocol::filter::Traits;
use tautline_protocol::permission::Operation;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// No order, or none that the relay knows.
    #[default]
    Nothing,
    /// One order.
    Order {
        /// Which.
        id: String,
        /// As it was; `None` when it was not there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Box<Traits>>,
        /// As it is; `None` when it has left.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Box<Traits>>,
    },
    /// Orders that left by age, each with its owner.
    Archived(Vec<(String, Option<String>)>),
}

impl About {
    /// As the store keeps it; `None` for what most events have: nothing.
    pub fn stored(&self) -> Option<String> {
        match self {
            Self::Nothing => None,
            // Strings and lists of them always serialise.
            about => serde_json::to_string(about).ok(),
        }
    }

    /// Reads what [`About::stored`] wrote. What an earlier relay stored without it concerns nobody in particular: the
    /// staff sees it, an owner does not.
    pub fn from_stored(text: Option<&str>) -> Self {
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    /// The order that a published payload names, where the type is one whose visibility asks for it.
    pub(super) fn named(kind: &str, payload: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Named {
            #[serde(alias = "orderId")]
            order_id: Option<String>,
        }
        matches!(
            Operation::to_see(kind),
            Operation::SeeOrders | Operation::SeePayments
        )
        .then(|| serde_json::from_str::<Named>(payload).ok()?.order_id)
        .flatten()
    }
}
