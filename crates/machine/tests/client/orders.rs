//! The order set: events, snapshots and their difference, the optimistic overlay; against the plainest model.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::rc::Rc;
use tautline_machine::client::{Change, OrderView, Orders, Patch, Source, UpdateAction};

/// An order behind a pointer, so that "the same object" can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Order {
    id: String,
    status: String,
    item: String,
    updated_at: String,
}

type Handle = Rc<Order>;

#[derive(Clone, Debug)]
struct View(Handle);

impl OrderView for View {
    fn id(&self) -> Option<String> {
        (!self.0.id.is_empty()).then(|| self.0.id.clone())
    }

    fn says_the_same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    fn patched(&self, patch: &Patch, at: Option<&str>) -> Self {
        let mut order = Order::clone(&self.0);
        match patch {
            Patch::Status(status) => order.status.clone_from(status),
            Patch::ItemStatus { status, .. } => order.item.clone_from(status),
        }
        if let Some(at) = at {
            at.clone_into(&mut order.updated_at);
        }
        Self(Rc::new(order))
    }
}

fn order(id: &str, status: &str, at: u32) -> View {
    View(Rc::new(Order {
        id: id.to_owned(),
        status: status.to_owned(),
        item: "pending".to_owned(),
        updated_at: at.to_string(),
    }))
}

fn status(to: &str) -> Patch {
    Patch::Status(to.to_owned())
}

fn patched(id: &str, to: &str, at: u32) -> Change<View> {
    Change::Patched {
        id: id.to_owned(),
        patch: status(to),
        at: Some(at.to_string()),
    }
}

fn shown(orders: &Orders<View>) -> Vec<(String, String)> {
    orders
        .iter()
        .map(|view| (view.0.id.clone(), view.0.status.clone()))
        .collect()
}

fn with(ids: &[&str]) -> Orders<View> {
    let mut orders = Orders::new();
    orders.collect(true, ids.iter().map(|id| order(id, "new", 1)));
    orders.install();
    orders
}

#[test]
fn events_change_the_set_and_say_how() {
    let mut orders = Orders::new();
    let steps = [
        (Change::Created(order("a", "new", 1)), UpdateAction::Created),
        (Change::Created(order("a", "new", 2)), UpdateAction::Updated),
        (Change::Updated(order("a", "new", 3)), UpdateAction::Updated),
        (patched("a", "ready", 4), UpdateAction::StatusChanged),
        (
            Change::Patched {
                id: "a".to_owned(),
                patch: Patch::ItemStatus {
                    item_id: "i".to_owned(),
                    status: "served".to_owned(),
                },
                at: None,
            },
            UpdateAction::ItemStatusChanged,
        ),
        (
            Change::Deleted { id: "a".to_owned() },
            UpdateAction::Deleted,
        ),
    ];
    for (change, action) in steps {
        let before = orders.version();
        let updates = orders.apply(change);
        assert_eq!(updates.len(), 1);
        assert_eq!(
            (updates[0].action, updates[0].source),
            (action, Source::Event)
        );
        assert_ne!(orders.version(), before);
    }
    assert!(orders.is_empty());
}

#[test]
fn a_patch_of_an_order_that_is_not_here_is_told_without_it() {
    let mut orders = with(&[]);
    let before = orders.version();
    let updates = orders.apply(patched("x", "ready", 2));
    assert!(updates[0].order.is_none());
    assert_eq!(orders.version(), before);
}

#[test]
fn a_change_that_brings_an_order_in_creates_it() {
    let mut orders = with(&[]);
    let updates = orders.apply(Change::Updated(order("a", "new", 1)));
    assert_eq!(updates[0].action, UpdateAction::Created);
}

/// Found by the simulation: a filter hid an item's change, the next change of the order gave it the version of the
/// snapshot that followed, and the item stayed as it was.
#[test]
fn what_changed_while_the_set_was_behind_is_replaced_whatever_its_version() {
    let mut orders = with(&["a", "b"]);
    orders.mark_stale();
    orders.apply(patched("a", "ready", 3));
    let mut whole = Order::clone(&order("a", "ready", 3).0);
    whole.item = "served".to_owned();
    orders.collect(true, [View(Rc::new(whole)), order("b", "new", 1)]);
    let updates = orders.install();
    assert_eq!(updates.len(), 1, "b is as it was");
    assert_eq!(orders.get("a").unwrap().0.item, "served");
}

#[test]
fn archived_orders_leave_and_strangers_are_not_told_of() {
    let mut orders = with(&["a", "b", "c"]);
    let updates = orders.apply(Change::Archived {
        ids: vec!["a".to_owned(), "x".to_owned(), "c".to_owned()],
    });
    let told: Vec<&str> = updates.iter().map(|update| update.id.as_str()).collect();
    assert_eq!(told, ["a", "c"]);
    assert_eq!(orders.len(), 1);
}

#[test]
fn the_first_set_says_that_it_is() {
    let mut orders = Orders::new();
    for initial in [true, false] {
        orders.collect(true, [order("a", "new", u32::from(initial))]);
        let updates = orders.install();
        assert_eq!(updates[0].source, Source::Snapshot { initial });
    }
    orders.clear();
    assert!(orders.is_empty());
    orders.collect(true, [order("a", "new", 1)]);
    assert_eq!(
        orders.install()[0].source,
        Source::Snapshot { initial: true }
    );
}

#[test]
fn an_unchanged_order_keeps_its_object_and_an_unchanged_set_its_version() {
    let mut orders = with(&["a", "b"]);
    let version = orders.version();
    let a = Rc::clone(&orders.get("a").expect("a").0);
    orders.mark_stale();
    assert!(orders.is_stale());
    orders.collect(true, [order("a", "new", 1), order("b", "new", 1)]);
    assert!(orders.install().is_empty());
    assert!(!orders.is_stale());
    assert!(Rc::ptr_eq(&a, &orders.get("a").expect("a").0));
    assert_eq!(orders.version(), version);
    orders.collect(true, [order("b", "new", 1), order("a", "new", 1)]);
    assert!(orders.install().is_empty());
    assert_ne!(orders.version(), version, "in another order");
}

#[test]
fn two_versions_stated_under_one_time_are_told_apart() {
    let mut orders = with(&["a"]);
    let mut other = Order::clone(&order("a", "new", 1).0);
    "served".clone_into(&mut other.item);
    orders.mark_stale();
    orders.collect(true, [View(Rc::new(other))]);
    let updates = orders.install();
    assert_eq!(updates[0].action, UpdateAction::Updated);
    assert_eq!(orders.get("a").expect("a").0.item, "served");
}

#[test]
fn a_shown_overlay_keeps_its_object_through_a_snapshot() {
    let mut orders = with(&["a"]);
    orders.overlay("c1".to_owned(), "a".to_owned(), status("ready"));
    let (version, a) = (orders.version(), Rc::clone(&orders.get("a").expect("a").0));
    orders.collect(true, [order("a", "new", 1)]);
    assert!(orders.install().is_empty());
    assert!(Rc::ptr_eq(&a, &orders.get("a").expect("a").0));
    assert_eq!(orders.version(), version);
}

#[test]
fn collected_parts_are_discarded_by_a_first_one() {
    let mut orders = with(&["a"]);
    orders.collect(true, [order("x", "new", 1)]);
    orders.collect(true, [order("a", "new", 1)]);
    orders.collect(false, [order("b", "new", 1), order("", "new", 1)]);
    let updates = orders.install();
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].id, "b");
    orders.collect(true, [order("x", "new", 1)]);
    orders.discard();
    assert_eq!(orders.len(), 2);
}

#[test]
fn a_foreign_change_under_an_overlay_shows_when_it_is_rolled_back() {
    let mut orders = with(&["a"]);
    orders.overlay("c1".to_owned(), "a".to_owned(), status("ready"));
    assert_eq!(shown(&orders), [("a".to_owned(), "ready".to_owned())]);
    orders.apply(patched("a", "cancelled", 5));
    assert_eq!(shown(&orders), [("a".to_owned(), "ready".to_owned())]);
    orders.settle("c1");
    assert_eq!(
        shown(&orders),
        [("a".to_owned(), "cancelled".to_owned())],
        "not the value from before the overlay"
    );
    orders.settle("c1");
    orders.settle("nobody");
}

#[test]
fn overlays_lie_in_call_order_and_go_one_by_one() {
    let mut orders = with(&["a"]);
    for (command, to) in [("c1", "preparing"), ("c2", "ready")] {
        orders.overlay(command.to_owned(), "a".to_owned(), status(to));
    }
    assert_eq!(shown(&orders)[0].1, "ready");
    orders.settle("c1");
    assert_eq!(shown(&orders)[0].1, "ready");
    orders.settle("c2");
    assert_eq!(shown(&orders)[0].1, "new");
}

#[test]
fn an_overlay_comes_back_with_its_order() {
    let mut orders = with(&["a"]);
    orders.overlay("c1".to_owned(), "a".to_owned(), status("ready"));
    orders.apply(Change::Deleted { id: "a".to_owned() });
    assert!(orders.is_empty());
    let updates = orders.apply(Change::Created(order("a", "new", 3)));
    let told = updates[0].order.as_ref().expect("an order");
    assert_eq!(told.0.status, "ready", "callbacks see what the set shows");
    orders.collect(true, [order("a", "pending", 4)]);
    let updates = orders.install();
    assert_eq!(
        updates[0].order.as_ref().expect("an order").0.status,
        "ready"
    );
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8, bool),
    Patch(u8, u8),
    Delete(u8),
    Archive(Vec<u8>),
    Install(Vec<(u8, u8)>),
    Overlay(u8, u8),
    Settle(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let (id, to) = (0u8..6, 0u8..4);
    prop_oneof![
        3 => (id.clone(), to.clone(), any::<bool>()).prop_map(|(id, to, new)| Step::Put(id, to, new)),
        3 => (id.clone(), to.clone()).prop_map(|(id, to)| Step::Patch(id, to)),
        1 => id.clone().prop_map(Step::Delete),
        1 => prop::collection::vec(id.clone(), 0..3).prop_map(Step::Archive),
        2 => prop::collection::vec((id.clone(), to.clone()), 0..6).prop_map(Step::Install),
        2 => (id, to).prop_map(|(id, to)| Step::Overlay(id, to)),
        2 => (0u8..12).prop_map(Step::Settle),
    ]
}

const STATES: [&str; 4] = ["new", "pending", "ready", "completed"];

fn name(id: u8) -> String {
    format!("o{id}")
}

fn state(to: u8) -> &'static str {
    STATES[usize::from(to) % STATES.len()]
}

proptest! {
    /// The set equals a map of bases with every open overlay laid over it in call order; a snapshot's updates are
    /// exactly the difference; the version changes whenever what is shown does.
    #[test]
    fn the_set_is_its_model(steps in prop::collection::vec(step(), 0..60)) {
        let mut orders: Orders<View> = Orders::new();
        let mut base: BTreeMap<String, (String, u32)> = BTreeMap::new();
        let mut overlays: Vec<(String, String, &str)> = Vec::new();
        let (mut clock, mut commands) = (0u32, 0u8);
        for step in steps {
            clock += 1;
            let (before, version) = (shown(&orders), orders.version());
            match step {
                Step::Put(id, to, new) => {
                    let view = order(&name(id), state(to), clock);
                    let was_there = base.insert(name(id), (state(to).to_owned(), clock)).is_some();
                    let updates = orders.apply(if new { Change::Created(view) } else { Change::Updated(view) });
                    let expected = if was_there { UpdateAction::Updated } else { UpdateAction::Created };
                    prop_assert_eq!(updates[0].action, expected);
                }
                Step::Patch(id, to) => {
                    orders.apply(patched(&name(id), state(to), clock));
                    if let Some(held) = base.get_mut(&name(id)) {
                        *held = (state(to).to_owned(), clock);
                    }
                }
                Step::Delete(id) => {
                    base.remove(&name(id));
                    orders.apply(Change::Deleted { id: name(id) });
                }
                Step::Archive(ids) => {
                    let ids: Vec<String> = ids.into_iter().map(name).collect();
                    orders.apply(Change::Archived { ids: ids.clone() });
                    base.retain(|id, _| !ids.contains(id));
                }
                Step::Install(list) => {
                    // Some as they are, some changed, some new, some gone; each once.
                    let mut next: BTreeMap<String, (String, u32)> = BTreeMap::new();
                    for (id, to) in list {
                        let kept = base.get(&name(id)).filter(|_| to % 2 == 0).cloned();
                        next.entry(name(id)).or_insert_with(|| kept.unwrap_or((state(to).to_owned(), clock)));
                    }
                    orders.collect(true, next.iter().map(|(id, (status, at))| order(id, status, *at)));
                    let mut told: Vec<(String, UpdateAction)> =
                        orders.install().into_iter().map(|update| (update.id, update.action)).collect();
                    told.sort_by(|a, b| a.0.cmp(&b.0));
                    let mut difference = Vec::new();
                    let ids: std::collections::BTreeSet<&String> = base.keys().chain(next.keys()).collect();
                    for id in ids {
                        match (base.get(id), next.get(id)) {
                            (None, Some(_)) => difference.push((id.clone(), UpdateAction::Created)),
                            (Some(_), None) => difference.push((id.clone(), UpdateAction::Deleted)),
                            (Some(was), Some(is)) if was != is => difference.push((id.clone(), UpdateAction::Updated)),
                            _ => {}
                        }
                    }
                    prop_assert_eq!(told, difference);
                    base = next;
                }
                Step::Overlay(id, to) => {
                    let command = format!("c{commands}");
                    commands = commands.wrapping_add(1);
                    orders.overlay(command.clone(), name(id), status(state(to)));
                    overlays.push((command, name(id), state(to)));
                }
                Step::Settle(n) => {
                    let command = format!("c{n}");
                    orders.settle(&command);
                    overlays.retain(|(of, ..)| *of != command);
                }
            }
            let mut expected: BTreeMap<String, String> =
                base.iter().map(|(id, (status, _))| (id.clone(), status.clone())).collect();
            for (_, id, to) in &overlays {
                if let Some(status) = expected.get_mut(id) {
                    (*to).clone_into(status);
                }
            }
            let after = shown(&orders);
            prop_assert!(after == before || orders.version() != version);
            prop_assert_eq!(after.into_iter().collect::<BTreeMap<_, _>>(), expected);
            prop_assert_eq!(orders.len(), base.len());
        }
    }
}
