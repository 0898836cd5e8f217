//! What a connection is shown: one function of its token, its filter, and the order before and after an event
//! (`docs/protocol.md`, Who may do what; §1, Filters).

use super::about::About;
use super::record::Event;
use std::collections::BTreeSet;
use std::sync::Arc;
use tautline_protocol::filter::{Filter, Traits};
use tautline_protocol::order::Order;
use tautline_protocol::permission::{Case, Operation, Rule, rule};
use tautline_protocol::request::hash;
use tautline_protocol::{Dialect, Role, server_frame};

/// Who a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Its `sub`.
    pub sub: Arc<str>,
    /// Its role.
    pub role: Role,
    /// Orders that are its own whoever made them.
    pub order_ids: Arc<BTreeSet<String>>,
}

impl Scope {
    /// A scope without `order_ids`.
    pub fn new(sub: &str, role: Role) -> Self {
        Self {
            sub: sub.into(),
            role,
            order_ids: Arc::default(),
        }
    }

    /// Stands for what it may see, the same in every relay: of two equal ones each sees what the other does.
    pub fn view(&self) -> String {
        let role = self.role.as_str();
        let own = SEEING
            .iter()
            .any(|&operation| !matches!(rule(self.role, operation), Rule::Always | Rule::Never));
        let mut names = Vec::new();
        if own {
            names.push(&*self.sub);
            // Kept apart, or one of two names would be the other of one.
            names.extend(self.order_ids.iter().flat_map(|id| ["\0", id]));
        }
        format!("{:016x}", hash(role, &names) >> 64)
    }

    /// Whether an order is its own.
    pub fn owns(&self, id: &str, owner: Option<&str>) -> bool {
        owner == Some(&self.sub) || self.order_ids.contains(id)
    }

    /// Whether it may see an order.
    pub fn sees(&self, order: &Order) -> bool {
        self.may_with(Operation::SeeOrders, order)
    }

    /// Whether it may do something with an order for which only whose it is matters.
    pub fn may_with(&self, operation: Operation, order: &Order) -> bool {
        rule(self.role, operation).allows(Case {
            own: self.owns(&order.id, order.created_by.as_deref()),
            ..Case::default()
        })
    }

    /// Which of the two encodings it gets.
    pub fn class(&self) -> Class {
        if self.role.is_staff() {
            Class::Staff
        } else {
            Class::Public
        }
    }
}

/// The two classes of encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// As stored.
    Staff,
    /// Customers and kiosks: without `updated_by` and `metadata.private`.
    Public,
}

/// An event's frame for one connection.
#[derive(Debug)]
pub(super) enum Shown {
    /// Shared by all that see it the same way.
    Shared(Arc<str>),
    /// This connection's own.
    Own(String),
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    dialect: Dialect,
    scope: Scope,
    filter: Filter,
    /// The rules of its role for what there is to see.
    rules: [Rule; 4],
    /// Neither role nor filter leaves anything out.
    all: bool,
    /// Set when nothing it is shown is its own matter.
    alike: Option<Alike>,
}

/// What viewers have in common who are shown the same frames, whoever they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alike {
    dialect: Dialect,
    class: Class,
    sees: [bool; 4],
}

const SEEING: [Operation; 4] = [
    Operation::SeeOrders,
    Operation::SeeMenu,
    Operation::SeePayments,
    Operation::SeeOthers,
];

impl Viewer {
    /// A viewer.
    pub fn new(dialect: Dialect, scope: Scope, filter: Filter) -> Self {
        let rules = SEEING.map(|operation| rule(scope.role, operation));
        let by_role = |rule: &Rule| matches!(rule, Rule::Always | Rule::Never);
        let alike = (filter.passes_all() && rules.iter().all(by_role)).then(|| Alike {
            dialect,
            class: scope.class(),
            sees: rules.map(|rule| rule == Rule::Always),
        });
        Self {
            dialect,
            alike,
            all: filter.passes_all() && rules.iter().all(|rule| *rule == Rule::Always),
            scope,
            filter,
            rules,
        }
    }

    /// One that sees everything, in a dialect.
    pub fn everything(dialect: Dialect) -> Self {
        Self::new(dialect, Scope::new("", Role::Service), Filter::default())
    }

    /// The dialect it reads.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What it has in common with others; `None` when what it is shown depends on whose it is, or on a filter.
    pub(super) fn alike(&self) -> Option<Alike> {
        self.alike
    }

    /// Who looks.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The same with another scope.
    #[must_use]
    pub fn with_scope(&self, scope: Scope) -> Self {
        Self::new(self.dialect, scope, self.filter.clone())
    }

    /// The same with another filter.
    #[must_use]
    pub fn with_filter(&self, filter: Filter) -> Self {
        Self::new(self.dialect, self.scope.clone(), filter)
    }

    /// An event as this viewer gets it; `None` when it is not for its eyes.
    pub(super) fn frame(&self, event: &Event) -> Option<Shown> {
        let class = if self.all {
            Class::Staff
        } else {
            match self.sight(event) {
                Sight::Hidden => return None,
                Sight::Shown => self.scope.class(),
                Sight::Left => {
                    return event
                        .left(self.dialect)
                        .map(|frame| Shown::Shared(Arc::clone(frame)));
                }
                Sight::Some(ids) => {
                    return server_frame::archived_twin(
                        event.frame(self.dialect, Class::Staff),
                        &ids,
                    )
                    .map(Shown::Own);
                }
            }
        };
        Some(Shown::Shared(Arc::clone(event.frame(self.dialect, class))))
    }

    fn sight(&self, event: &Event) -> Sight {
        let rule = SEEING
            .iter()
            .position(|operation| *operation == event.seen_by())
            .and_then(|index| self.rules.get(index).copied())
            .unwrap_or(Rule::Never);
        let sight = match (rule, &event.about) {
            (Rule::Always, _) => Sight::Shown,
            (Rule::Own, About::Order { id, before, after }) => {
                let own = |traits: &Option<Box<Traits>>| {
                    traits
                        .as_ref()
                        .is_some_and(|traits| self.scope.owns(id, traits.owner.as_deref()))
                };
                match (own(before), own(after)) {
                    (_, true) => Sight::Shown,
                    (true, false) if after.is_none() => Sight::Shown,
                    (true, false) => Sight::Left,
                    (false, false) if before.is_none() && self.scope.owns(id, None) => Sight::Shown,
                    (false, false) => Sight::Hidden,
                }
            }
            (Rule::Own, About::Archived(orders)) => {
                let own =
                    |(id, owner): &&(String, Option<String>)| self.scope.owns(id, owner.as_deref());
                let ids: Vec<String> = orders
                    .iter()
                    .filter(own)
                    .map(|(id, _)| id.clone())
                    .collect();
                if ids.is_empty() {
                    Sight::Hidden
                } else {
                    Sight::Some(ids)
                }
            }
            _ => Sight::Hidden,
        };
        if matches!(sight, Sight::Hidden) || !self.filter.passes_kind(&event.kind) {
            return Sight::Hidden;
        }
        match &event.about {
            // Filters concern `order:*` only.
            About::Order { id, before, after }
                if event.kind.starts_with("order:")
                    && !self
                        .filter
                        .passes_change(id, before.as_deref(), after.as_deref()) =>
            {
                Sight::Hidden
            }
            _ => sight,
        }
    }

    /// Whether an order of the live set is for its eyes.
    pub fn shows(&self, order: &Order) -> bool {
        self.all
            || (self.scope.sees(order)
                && (self.filter.passes_all()
                    || self.filter.passes_order(&order.id, &Traits::of(order))))
    }

    /// Whether every order of the live set is.
    pub(super) fn shows_every_order(&self) -> bool {
        self.all
            || (self.filter.passes_all()
                && rule(self.scope.role, Operation::SeeOrders) == Rule::Always)
    }

    /// What viewers who are shown the same orders in the same encoding have in common.
    pub(super) fn key(&self) -> String {
        let mut key = self.filter.json();
        if self.scope.class() == Class::Public {
            key.push('\n');
            key.push_str(&self.scope.sub);
            for id in self.scope.order_ids.iter() {
                key.push('\n');
                key.push_str(id);
            }
        }
        key
    }
}

enum Sight {
    Hidden,
    Shown,
    /// It was for its eyes and is no more.
    Left,
    /// Of the archived orders, these.
    Some(Vec<String>),
}
