//! Names of the event types that change the order set (`docs/protocol.md` §1, Events).

/// An order came into being.
pub const ORDER_CREATED: &str = "order:created";
/// An order was replaced whole.
pub const ORDER_UPDATED: &str = "order:updated";
/// An order left the live set.
pub const ORDER_DELETED: &str = "order:deleted";
/// An order's state changed, cancelling too.
pub const ORDER_STATUS_CHANGED: &str = "order:status_changed";
/// An item's state changed.
pub const ORDER_ITEM_STATUS_CHANGED: &str = "order:item_status_changed";
/// Orders left the live set by age.
pub const ORDERS_ARCHIVED: &str = "orders:archived";

/// Whether this type tells of a payment, which not every role may see.
pub fn is_payment(kind: &str) -> bool {
    kind.starts_with("payment:")
}

/// What an event does to the order set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrderEvent {
    /// [`ORDER_CREATED`].
    Created,
    /// [`ORDER_UPDATED`].
    Updated,
    /// [`ORDER_DELETED`].
    Deleted,
    /// [`ORDER_STATUS_CHANGED`].
    StatusChanged,
    /// [`ORDER_ITEM_STATUS_CHANGED`].
    ItemStatusChanged,
    /// [`ORDERS_ARCHIVED`].
    Archived,
}

impl OrderEvent {
    /// Every kind with its type's name.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Created, ORDER_CREATED),
        (Self::Updated, ORDER_UPDATED),
        (Self::Deleted, ORDER_DELETED),
        (Self::StatusChanged, ORDER_STATUS_CHANGED),
        (Self::ItemStatusChanged, ORDER_ITEM_STATUS_CHANGED),
        (Self::Archived, ORDERS_ARCHIVED),
    ];

    /// The kind of a type's name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find_map(|(kind, n)| (n == name).then_some(kind))
    }

    /// The type's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => ORDER_CREATED,
            Self::Updated => ORDER_UPDATED,
            Self::Deleted => ORDER_DELETED,
            Self::StatusChanged => ORDER_STATUS_CHANGED,
            Self::ItemStatusChanged => ORDER_ITEM_STATUS_CHANGED,
            Self::Archived => ORDERS_ARCHIVED,
        }
    }
}
