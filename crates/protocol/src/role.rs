/// Who a token speaks for (`docs/protocol.md`, Who may do what).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum Role {
    /// A guest with a phone.
    Customer,
    /// A self-order post or drive-through.
    Kiosk,
    /// A waiter's handheld.
    Server,
    /// A kitchen display.
    Kitchen,
    /// A manager.
    Manager,
    /// An existing back end; the only role that may name `"*"` as its restaurant.
    Service,
}

impl Role {
    /// Every role, in the order of the permission table.
    pub const ALL: [Self; 6] = [
        Self::Customer,
        Self::Kiosk,
        Self::Server,
        Self::Kitchen,
        Self::Manager,
        Self::Service,
    ];

    /// Its name in tokens and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Kiosk => "kiosk",
            Self::Server => "server",
            Self::Kitchen => "kitchen",
            Self::Manager => "manager",
            Self::Service => "service",
        }
    }

    /// The role of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// The four roles that see everything of their restaurant.
    pub fn is_staff(self) -> bool {
        !matches!(self, Self::Customer | Self::Kiosk)
    }
}
