/// An order's state (`docs/protocol.md` §1, Order, items, states).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum OrderStatus {
    /// Just made.
    New,
    /// Waiting for acceptance.
    Pending,
    /// Accepted.
    Confirmed,
    /// In the kitchen.
    Preparing,
    /// Waiting at the pass.
    Ready,
    /// Handed over.
    PickedUp,
    /// Done; final.
    Completed,
    /// Called off; final.
    Cancelled,
}

impl OrderStatus {
    /// Every state: the forward path in order, then `cancelled`.
    pub const ALL: [Self; 8] = [
        Self::New,
        Self::Pending,
        Self::Confirmed,
        Self::Preparing,
        Self::Ready,
        Self::PickedUp,
        Self::Completed,
        Self::Cancelled,
    ];

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::PickedUp => "picked-up",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// `completed` and `cancelled` are final.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled)
    }

    /// Whether an order may go from `self` to `to`: forward with skips, back one step from `confirmed` to
    /// `picked-up`, `cancelled` before `picked-up`. Staying is not a transition.
    pub fn may_become(self, to: Self) -> bool {
        if self.is_final() || self == to {
            return false;
        }
        match to {
            Self::Cancelled => self < Self::PickedUp,
            _ if to > self => true,
            _ => self >= Self::Confirmed && to.forward_one() == Some(self),
        }
    }

    /// The next state on the forward path.
    pub fn forward_one(self) -> Option<Self> {
        match self {
            Self::New => Some(Self::Pending),
            Self::Pending => Some(Self::Confirmed),
            Self::Confirmed => Some(Self::Preparing),
            Self::Preparing => Some(Self::Ready),
            Self::Ready => Some(Self::PickedUp),
            Self::PickedUp => Some(Self::Completed),
            Self::Completed | Self::Cancelled => None,
        }
    }
}

/// An item's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum ItemStatus {
    /// Not begun.
    #[default]
    Pending,
    /// Being made.
    Preparing,
    /// Made.
    Ready,
    /// At the table; final.
    Served,
    /// Called off; final.
    Cancelled,
}

impl ItemStatus {
    /// Every state: the forward path in order, then `cancelled`.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Preparing,
        Self::Ready,
        Self::Served,
        Self::Cancelled,
    ];

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Served => "served",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether an item may go from `self` to `to`: forward with skips, back one step (a tick taken back at the
    /// display), `cancelled` from any state that is not final.
    pub fn may_become(self, to: Self) -> bool {
        if self == to || matches!(self, Self::Served | Self::Cancelled) {
            return false;
        }
        to > self || self as u8 == to as u8 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_states_are_one_to_one() {
        for status in OrderStatus::ALL {
            assert_eq!(OrderStatus::parse(status.as_str()), Some(status));
        }
        for status in ItemStatus::ALL {
            assert_eq!(ItemStatus::parse(status.as_str()), Some(status));
        }
    }

    #[test]
    fn every_transition_is_the_papers() {
        use OrderStatus::*;
        for from in OrderStatus::ALL {
            for to in OrderStatus::ALL {
                let path = |s| OrderStatus::ALL.iter().position(|&x| x == s).unwrap();
                let expected = if from.is_final() || from == to {
                    false
                } else if to == Cancelled {
                    path(from) < path(PickedUp)
                } else if path(to) > path(from) {
                    true
                } else {
                    path(from) == path(to) + 1
                        && matches!(from, Confirmed | Preparing | Ready | PickedUp)
                };
                assert_eq!(from.may_become(to), expected, "{from:?} -> {to:?}");
            }
        }
    }
}
