//! Who may do what in a restaurant: one table, asked by socket, HTTP, voice and snapshots alike
//! (`docs/protocol.md`, Who may do what).

use crate::event::{self, OrderEvent};
use crate::{ItemStatus, OrderStatus, Role};

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Connect, authenticate, renew, ping.
    Connect,
    /// See orders: their events, resume, sync, `GET`.
    SeeOrders,
    /// See an order's `customer_phone` (`GET …/orders/{id}` only).
    SeePhone,
    /// See `menu:*`.
    SeeMenu,
    /// See `payment:*`.
    SeePayments,
    /// See any other type.
    SeeOthers,
    /// Make an order.
    Create,
    /// Move an order forward.
    Forward,
    /// Take an order back one step.
    Back,
    /// Call an order off.
    Cancel,
    /// Change an item's state.
    ItemStatus,
    /// Take an order out of the live set.
    Delete,
    /// See and close sessions, revoke tokens, read diagnostics.
    Sessions,
    /// Read the log by HTTP.
    ReadLog,
    /// Publish events.
    Publish,
    /// Hold a call.
    Call,
    /// Hang a call up, follow it on a sideband.
    EndCall,
}

/// When a role may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Never.
    Never,
    /// Always.
    Always,
    /// Where the order, or the call, is its own.
    Own,
    /// Where the order is its own and in one of these states.
    OwnIn(&'static [OrderStatus]),
    /// Where the order is in one of these states.
    In(&'static [OrderStatus]),
    /// To one of these states.
    To(&'static [OrderStatus]),
    /// To one of these states of an item.
    ItemTo(&'static [ItemStatus]),
    /// Where the restaurant's voice policy says so.
    Policy,
}

/// What a [`Rule`] looks at; what an operation has not stays `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Case {
    /// Whether `created_by` is the token's `sub`, or the order is one of its `order_ids`.
    pub own: bool,
    /// The state the order is in.
    pub from: Option<OrderStatus>,
    /// The state it is to have.
    pub to: Option<OrderStatus>,
    /// The state its item is to have.
    pub item: Option<ItemStatus>,
    /// What the voice policy says.
    pub policy: bool,
}

impl Rule {
    /// Whether it allows this.
    pub fn allows(self, case: Case) -> bool {
        let among = |states: &[OrderStatus], state: Option<OrderStatus>| {
            state.is_some_and(|state| states.contains(&state))
        };
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::Own => case.own,
            Self::OwnIn(states) => case.own && among(states, case.from),
            Self::In(states) => among(states, case.from),
            Self::To(states) => among(states, case.to),
            Self::ItemTo(states) => case.item.is_some_and(|state| states.contains(&state)),
            Self::Policy => case.policy,
        }
    }
}

/// One row: an operation, and its rule for each role in the order of [`Role::ALL`].
pub type Row = (Operation, [Rule; 6]);

/// The table.
pub const TABLE: [Row; 17] = {
    use ItemStatus as Item;
    use OrderStatus::{Completed, Confirmed, New, Pending, PickedUp, Preparing, Ready};
    use Rule::{Always, In, ItemTo, Never, Own, OwnIn, Policy, To};
    const EARLY: &[OrderStatus] = &[New, Pending];
    const TO_CONFIRMED: &[OrderStatus] = &[New, Pending, Confirmed];
    const BEFORE_PICKED_UP: &[OrderStatus] = &[New, Pending, Confirmed, Preparing, Ready];
    const COOKED: &[OrderStatus] = &[Confirmed, Preparing, Ready];
    const UP_TO_PICKED_UP: &[OrderStatus] = &[Pending, Confirmed, Preparing, Ready, PickedUp];
    const ALL_FORWARD: &[OrderStatus] =
        &[Pending, Confirmed, Preparing, Ready, PickedUp, Completed];
    const AT_THE_TABLE: &[Item] = &[Item::Served, Item::Cancelled];
    const IN_THE_KITCHEN: &[Item] = &[Item::Pending, Item::Preparing, Item::Ready, Item::Cancelled];
    // In each row: customer, kiosk, server, kitchen, manager, service.
    [
        (
            Operation::Connect,
            [Always, Always, Always, Always, Always, Always],
        ),
        (
            Operation::SeeOrders,
            [Own, Own, Always, Always, Always, Always],
        ),
        (
            Operation::SeePhone,
            [Own, Never, Always, Never, Always, Always],
        ),
        (
            Operation::SeeMenu,
            [Always, Always, Always, Always, Always, Always],
        ),
        (
            Operation::SeePayments,
            [Own, Own, Always, Never, Always, Always],
        ),
        (
            Operation::SeeOthers,
            [Never, Never, Always, Always, Always, Always],
        ),
        (
            Operation::Create,
            [Always, Always, Always, Never, Always, Always],
        ),
        (
            Operation::Forward,
            [
                Never,
                Never,
                To(ALL_FORWARD),
                To(UP_TO_PICKED_UP),
                Always,
                Always,
            ],
        ),
        (
            Operation::Back,
            [Never, Never, Never, In(COOKED), Always, Never],
        ),
        (
            Operation::Cancel,
            [
                OwnIn(EARLY),
                OwnIn(EARLY),
                In(TO_CONFIRMED),
                Never,
                In(BEFORE_PICKED_UP),
                In(BEFORE_PICKED_UP),
            ],
        ),
        (
            Operation::ItemStatus,
            [
                Never,
                Never,
                ItemTo(AT_THE_TABLE),
                ItemTo(IN_THE_KITCHEN),
                Always,
                Always,
            ],
        ),
        (
            Operation::Delete,
            [Never, Never, Never, Never, Always, Always],
        ),
        (
            Operation::Sessions,
            [Never, Never, Never, Never, Always, Always],
        ),
        (
            Operation::ReadLog,
            [Never, Never, Never, Never, Always, Always],
        ),
        (
            Operation::Publish,
            [Never, Never, Never, Never, Never, Always],
        ),
        (
            Operation::Call,
            [Policy, Policy, Policy, Never, Always, Always],
        ),
        (Operation::EndCall, [Own, Own, Own, Never, Always, Always]),
    ]
};

impl Operation {
    /// What it takes to see an event of this type.
    pub fn to_see(kind: &str) -> Self {
        if OrderEvent::parse(kind).is_some() || kind.starts_with("order:") {
            Self::SeeOrders
        } else if kind.starts_with("menu:") {
            Self::SeeMenu
        } else if event::is_payment(kind) {
            Self::SeePayments
        } else {
            Self::SeeOthers
        }
    }
}

/// The rule of one cell.
pub fn rule(role: Role, operation: Operation) -> Rule {
    TABLE
        .iter()
        .find(|(row, _)| *row == operation)
        .and_then(|(_, rules)| {
            let column = Role::ALL.iter().position(|&of| of == role)?;
            rules.get(column).copied()
        })
        .unwrap_or(Rule::Never)
}

/// Whether a role may, where nothing but the role matters.
pub fn may(role: Role, operation: Operation) -> bool {
    rule(role, operation).allows(Case::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The papers' table, read off again: a slip in one of the two shows.
    #[test]
    fn the_table_is_the_papers() {
        use OrderStatus::*;
        let own = Case {
            own: true,
            ..Case::default()
        };
        let row = |operation, case: Case| {
            Role::ALL
                .map(|role| {
                    if rule(role, operation).allows(case) {
                        '+'
                    } else {
                        '.'
                    }
                })
                .iter()
                .collect::<String>()
        };
        let all = [
            (Operation::Connect, "++++++", "++++++"),
            (Operation::SeeOrders, "..++++", "++++++"),
            (Operation::SeePhone, "..+.++", "+.+.++"),
            (Operation::SeeMenu, "++++++", "++++++"),
            (Operation::SeePayments, "..+.++", "+++.++"),
            (Operation::SeeOthers, "..++++", "..++++"),
            (Operation::Create, "+++.++", "+++.++"),
            (Operation::Delete, "....++", "....++"),
            (Operation::Sessions, "....++", "....++"),
            (Operation::ReadLog, "....++", "....++"),
            (Operation::Publish, ".....+", ".....+"),
            (Operation::Call, "....++", "....++"),
            (Operation::EndCall, "....++", "+++.++"),
        ];
        for (operation, foreign, mine) in all {
            assert_eq!(row(operation, Case::default()), foreign, "{operation:?}");
            assert_eq!(row(operation, own), mine, "{operation:?}, own");
        }
        for from in OrderStatus::ALL {
            for to in OrderStatus::ALL {
                let case = Case {
                    own: true,
                    from: Some(from),
                    to: Some(to),
                    ..Case::default()
                };
                let forward = match to {
                    New | Cancelled => "....++",
                    Completed => "..+.++",
                    _ => "..++++",
                };
                assert_eq!(row(Operation::Forward, case), forward, "{from:?} -> {to:?}");
            }
            let case = Case {
                own: true,
                from: Some(from),
                ..Case::default()
            };
            let foreign = Case { own: false, ..case };
            let (back, cancel, cancel_foreign) = match from {
                New | Pending => ("....+.", "+++.++", "..+.++"),
                Confirmed => ("...++.", "..+.++", "..+.++"),
                Preparing | Ready => ("...++.", "....++", "....++"),
                PickedUp | Completed | Cancelled => ("....+.", "......", "......"),
            };
            assert_eq!(row(Operation::Back, case), back, "{from:?}");
            assert_eq!(row(Operation::Cancel, case), cancel, "{from:?}");
            assert_eq!(row(Operation::Cancel, foreign), cancel_foreign, "{from:?}");
        }
        for item in ItemStatus::ALL {
            let case = Case {
                own: true,
                item: Some(item),
                ..Case::default()
            };
            let expected = match item {
                ItemStatus::Served => "..+.++",
                ItemStatus::Cancelled => "..++++",
                ItemStatus::Pending | ItemStatus::Preparing | ItemStatus::Ready => "...+++",
            };
            assert_eq!(row(Operation::ItemStatus, case), expected, "{item:?}");
        }
        let policy = Case {
            policy: true,
            ..Case::default()
        };
        assert_eq!(row(Operation::Call, policy), "+++.++");
    }

    #[test]
    fn every_type_has_its_row() {
        for (kind, operation) in [
            ("order:created", Operation::SeeOrders),
            ("orders:archived", Operation::SeeOrders),
            ("order:note", Operation::SeeOrders),
            ("menu:updated", Operation::SeeMenu),
            ("payment:processed", Operation::SeePayments),
            ("payments", Operation::SeeOthers),
            ("table:updated", Operation::SeeOthers),
            ("kds:update", Operation::SeeOthers),
        ] {
            assert_eq!(Operation::to_see(kind), operation, "{kind}");
        }
    }
}
