//! The order as it is taken: lines with the menu's prices, and the JSON that tools and the relay take.

use super::menu::{Ingredient, Menu, MenuItem, Size};
use serde_json::{Value, json};
use tautline_protocol::{Cents, JsonWriter, limits};

/// Some of one thing, changed in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) menu_item_id: String,
    pub(super) name: String,
    pub(super) quantity: u32,
    /// Of one, without the choices.
    pub(super) price: Cents,
    pub(super) station: Option<String>,
    pub(super) size: Option<Choice>,
    pub(super) changes: Vec<Choice>,
}

/// A size, something left out, something more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    id: String,
    pub(super) name: String,
    price: Cents,
    category: &'static str,
}

impl Choice {
    pub(super) fn without(ingredient: &Ingredient) -> Self {
        Self {
            id: format!("no-{}", ingredient.id),
            name: format!("no {}", ingredient.name),
            price: Cents::default(),
            category: "remove",
        }
    }

    pub(super) fn extra(ingredient: &Ingredient) -> Self {
        Self {
            id: format!("extra-{}", ingredient.id),
            name: format!("extra {}", ingredient.name),
            price: ingredient.price,
            category: "add",
        }
    }

    fn size(size: &Size) -> Self {
        Self {
            id: format!("size-{}", size.name),
            name: size.name.clone(),
            price: size.price,
            category: "size",
        }
    }
}

impl Line {
    /// So many of an item as it is; of its first size if it has any.
    pub(super) fn new(item: &MenuItem, quantity: u32) -> Self {
        Self {
            menu_item_id: item.id.clone(),
            name: item.name.clone(),
            quantity: quantity.clamp(1, limits::ITEM_QUANTITY),
            price: item.price,
            station: item.station.clone(),
            size: item.sizes.first().map(Choice::size),
            changes: Vec::new(),
        }
    }

    /// Takes one of the item's sizes; `false` if it has no such size.
    pub(super) fn resize(&mut self, item: &MenuItem, name: &str) -> bool {
        let size = item
            .sizes
            .iter()
            .find(|size| size.name.eq_ignore_ascii_case(name));
        if let Some(size) = size {
            self.size = Some(Choice::size(size));
        }
        size.is_some()
    }

    /// Adds a change; the later of two that contradict each other wins.
    pub(super) fn change(&mut self, ingredient: &Ingredient, choice: Choice) {
        let (less, more) = (Choice::without(ingredient), Choice::extra(ingredient));
        self.changes
            .retain(|known| known.id != less.id && known.id != more.id);
        self.changes.push(choice);
    }

    fn choices(&self) -> impl Iterator<Item = &Choice> {
        self.size.iter().chain(&self.changes)
    }

    /// One of it, with what it is changed by.
    fn one(&self) -> Option<Cents> {
        self.choices()
            .try_fold(self.price, |sum, choice| sum.plus(choice.price))
    }

    fn subtotal(&self) -> Option<Cents> {
        self.one()?.times(self.quantity)
    }

    fn alike(&self, other: &Self) -> bool {
        self.menu_item_id == other.menu_item_id
            && self.size == other.size
            && self.changes == other.changes
    }

    /// `2 Bacon burger (no pickles)`
    fn describe(&self) -> String {
        let mut text = format!("{} ", self.quantity);
        if let Some(size) = &self.size {
            text.push_str(&size.name);
            text.push(' ');
        }
        text.push_str(&self.name);
        if !self.changes.is_empty() {
            let names: Vec<&str> = self.changes.iter().map(|change| &*change.name).collect();
            text.push_str(&format!(" ({})", names.join(", ")));
        }
        text
    }
}

/// Lines as people read them.
pub(super) fn describe(lines: &[Line]) -> String {
    let texts: Vec<String> = lines.iter().map(Line::describe).collect();
    texts.join(", ")
}

/// `{"items":[…]}`, the arguments of both tools.
pub(super) fn arguments(lines: &[Line]) -> String {
    let items: Vec<String> = lines
        .iter()
        .map(|line| {
            JsonWriter::object()
                .str("menu_item_id", &line.menu_item_id)
                .str("name", &line.name)
                .u64("quantity", u64::from(line.quantity))
                .opt_str("size", line.size.as_ref().map(|size| &*size.name))
                .strs("modifiers", line.changes.iter().map(|change| &*change.name))
                .raw("price", &line.price.to_decimal())
                .opt_raw(
                    "subtotal",
                    line.subtotal().map(Cents::to_decimal).as_deref(),
                )
                .end()
        })
        .collect();
    format!("{{\"items\":[{}]}}", items.join(","))
}

/// `order` of an `order.detected`: of each line the price of one with what it is changed by, and what all of it comes to.
/// What is on the menu is meant, and nothing else is detected: there is no doubt in it.
pub(super) fn detected(lines: &[Line]) -> Value {
    let number = |cents: Cents| {
        let text = cents.to_decimal();
        serde_json::from_str::<Value>(&text).unwrap_or_default()
    };
    let items: Vec<Value> = lines
        .iter()
        .map(|line| {
            let names: Vec<&str> = line.choices().map(|choice| &*choice.name).collect();
            let mut item = json!({"name": line.name, "quantity": line.quantity});
            if let Value::Object(item) = &mut item {
                if let Some(one) = line.one() {
                    item.insert("price".into(), number(one));
                }
                if !names.is_empty() {
                    item.insert("modifiers".into(), json!(names));
                }
            }
            item
        })
        .collect();
    let mut order = json!({"items": items, "confidence": 1});
    if let (Value::Object(order), Some(total)) = (&mut order, total(lines)) {
        order.insert("total".into(), number(total));
    }
    order
}

/// What lines come to, if it is a sum.
fn total(lines: &[Line]) -> Option<Cents> {
    lines
        .iter()
        .try_fold(Cents::default(), |sum, line| sum.plus(line.subtotal()?))
}

/// A new order, as `POST …/orders` takes it.
pub(super) fn order(lines: &[Line], kind: &str) -> String {
    let items: Vec<String> = lines
        .iter()
        .map(|line| {
            let modifiers: Vec<String> = line
                .choices()
                .map(|choice| {
                    JsonWriter::object()
                        .str("id", &choice.id)
                        .str("name", &choice.name)
                        .raw("price", &choice.price.to_decimal())
                        .str("category", choice.category)
                        .end()
                })
                .collect();
            JsonWriter::object()
                .str("menu_item_id", &line.menu_item_id)
                .str("name", &line.name)
                .u64("quantity", u64::from(line.quantity))
                .raw("price", &line.price.to_decimal())
                .raw("modifiers", &format!("[{}]", modifiers.join(",")))
                .opt_str("station", line.station.as_deref())
                .end()
        })
        .collect();
    JsonWriter::object()
        .str("type", kind)
        .raw("items", &format!("[{}]", items.join(",")))
        .end()
}

/// The output of a call of `submit_order`: the order, or why there is none.
pub(super) fn output(result: Result<&str, &str>) -> String {
    match result {
        // What is not JSON, or too long for an item, is left to the log that has it.
        Ok(order)
            if order.len() <= limits::MAX_ORDER && serde_json::from_str::<Value>(order).is_ok() =>
        {
            JsonWriter::object()
                .bool("ok", true)
                .raw("order", order)
                .end()
        }
        Ok(_) => JsonWriter::object().bool("ok", true).end(),
        Err(why) => JsonWriter::object()
            .bool("ok", false)
            .str("error", why)
            .end(),
    }
}

/// Whether such an output says that the order was made.
pub(super) fn was_made(output: &str) -> bool {
    serde_json::from_str::<Value>(output)
        .is_ok_and(|output| output.get("ok") == Some(&Value::Bool(true)))
}

/// Reads the arguments of a call: what they name must be on the menu, and the prices are the menu's, whatever a model
/// wrote.
pub(super) fn read(arguments: &str, menu: &Menu) -> Result<Vec<Line>, String> {
    let arguments: Value = serde_json::from_str(arguments)
        .map_err(|_| "the arguments are not JSON; send {\"items\":[…]}".to_owned())?;
    let items = arguments
        .get("items")
        .and_then(Value::as_array)
        .ok_or("items: a list is required")?;
    if items.is_empty() || items.len() > limits::ORDER_ITEMS {
        return Err(format!("items: 1 to {} entries", limits::ORDER_ITEMS));
    }
    items
        .iter()
        .enumerate()
        .map(|(n, item)| read_line(item, menu).map_err(|why| format!("items[{n}]{why}")))
        .collect()
}

fn read_line(given: &Value, menu: &Menu) -> Result<Line, String> {
    let text = |key: &str| given.get(key).and_then(Value::as_str);
    let item = match (text("menu_item_id"), text("name")) {
        (Some(id), _) => menu.item(id),
        (None, Some(name)) => menu
            .items
            .iter()
            .find(|item| item.name.eq_ignore_ascii_case(name)),
        (None, None) => return Err(".menu_item_id: required".into()),
    }
    .ok_or(".menu_item_id: not on the menu")?;
    let quantity = match given.get("quantity") {
        None | Some(Value::Null) => 1,
        Some(quantity) => quantity
            .as_u64()
            .and_then(|quantity| u32::try_from(quantity).ok())
            .filter(|quantity| (1..=limits::ITEM_QUANTITY).contains(quantity))
            .ok_or_else(|| format!(".quantity: 1 to {}", limits::ITEM_QUANTITY))?,
    };
    let mut line = Line::new(item, quantity);
    if let Some(size) = text("size")
        && !line.resize(item, size)
    {
        return Err(".size: the item does not come in that size".into());
    }
    let modifiers = match given.get("modifiers") {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(modifiers)) => modifiers,
        Some(_) => return Err(".modifiers: a list of strings".into()),
    };
    for modifier in modifiers {
        let name = modifier.as_str().ok_or(".modifiers: a list of strings")?;
        let (ingredient, choice) = read_change(name, item, menu)
            .ok_or(".modifiers: \"no \" or \"extra \" and an ingredient of the item")?;
        line.change(ingredient, choice);
    }
    if line.subtotal().is_none() {
        return Err(".quantity: the sum is too large".into());
    }
    Ok(line)
}

fn read_change<'a>(
    text: &str,
    item: &MenuItem,
    menu: &'a Menu,
) -> Option<(&'a Ingredient, Choice)> {
    let (sign, name) = text.trim().split_once(' ')?;
    let ingredient = item
        .ingredients
        .iter()
        .filter_map(|id| menu.ingredient(id))
        .find(|known| {
            known.name.eq_ignore_ascii_case(name.trim())
                || known.id.eq_ignore_ascii_case(name.trim())
        })?;
    let choice = match sign.to_ascii_lowercase().as_str() {
        "no" | "without" => Choice::without(ingredient),
        "extra" | "add" | "with" => Choice::extra(ingredient),
        _ => return None,
    };
    Some((ingredient, choice))
}

/// What was taken so far and not yet sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Cart {
    lines: Vec<Line>,
}

impl Cart {
    /// The lines.
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Adds; equal lines become one. What is beyond an order's bound stays out, and comes back.
    pub(super) fn add(&mut self, lines: &[Line]) -> Vec<Line> {
        let mut refused = Vec::new();
        for line in lines {
            if let Some(known) = self.lines.iter_mut().find(|known| known.alike(line)) {
                let sum = known.quantity + line.quantity;
                if sum <= limits::ITEM_QUANTITY {
                    known.quantity = sum;
                } else {
                    refused.push(line.clone());
                }
            } else if self.lines.len() < limits::ORDER_ITEMS {
                self.lines.push(line.clone());
            } else {
                refused.push(line.clone());
            }
        }
        refused
    }

    /// Takes everything out.
    pub(super) fn take(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.lines)
    }

    /// The sum, if it is one.
    pub(super) fn total(&self) -> Option<Cents> {
        total(&self.lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tautline_protocol::order::NewOrder;

    fn read_demo(arguments: &str) -> Result<Vec<Line>, String> {
        read(arguments, &Menu::demo())
    }

    #[test]
    fn what_is_written_is_read_and_is_an_order_that_the_relay_takes() {
        let lines = read_demo(
            r#"{"items":[{"menu_item_id":"bacon-burger","quantity":2,"modifiers":["no pickles","extra cheese"]},
                {"name":"cola","size":"Large"}]}"#,
        )
        .unwrap();
        assert_eq!(
            describe(&lines),
            "2 Bacon burger (no pickles, extra cheese), 1 large Cola"
        );
        assert_eq!(read_demo(&arguments(&lines)).unwrap(), lines);
        let order = order(&lines, "takeout");
        NewOrder::parse(&order).unwrap();
        let order: Value = serde_json::from_str(&order).unwrap();
        assert_eq!(order["items"][0]["price"], 9.5);
        assert_eq!(order["items"][0]["modifiers"][1]["price"], 1.0);
        assert_eq!(order["items"][1]["modifiers"][0]["id"], "size-large");
        let mut cart = Cart::default();
        assert!(cart.add(&lines).is_empty());
        // 2 × (9.50 + 1.00) + 2.80 + 1.20
        assert_eq!(cart.total().map(Cents::get), Some(2_500));
    }

    #[test]
    fn what_is_detected_adds_up() {
        let lines = read_demo(
            r#"{"items":[{"menu_item_id":"bacon-burger","quantity":2,"modifiers":["no pickles","extra cheese"]},
                {"name":"cola","size":"Large"}]}"#,
        )
        .unwrap();
        assert_eq!(
            detected(&lines),
            json!({"confidence": 1, "total": 25.0, "items": [
                {"name": "Bacon burger", "quantity": 2, "price": 10.5, "modifiers": ["no pickles", "extra cheese"]},
                {"name": "Cola", "quantity": 1, "price": 4.0, "modifiers": ["large"]}]})
        );
    }

    #[test]
    fn a_price_of_the_models_is_not_taken() {
        let lines =
            read_demo(r#"{"items":[{"menu_item_id":"cola","price":0.01,"quantity":1}]}"#).unwrap();
        assert_eq!(lines[0].price.get(), 280);
    }

    #[test]
    fn what_cannot_be_ordered_says_why() {
        for (arguments, word) in [
            ("", "JSON"),
            ("{}", "items"),
            (r#"{"items":[]}"#, "1 to 200"),
            (r#"{"items":[{}]}"#, "menu_item_id: required"),
            (r#"{"items":[{"menu_item_id":"pizza"}]}"#, "not on the menu"),
            (r#"{"items":[{"name":"cola","quantity":0}]}"#, "quantity"),
            (r#"{"items":[{"name":"cola","quantity":1e9}]}"#, "quantity"),
            (r#"{"items":[{"name":"cola","size":"vast"}]}"#, "size"),
            (
                r#"{"items":[{"name":"cola","modifiers":["no bacon"]}]}"#,
                "modifiers",
            ),
            (
                r#"{"items":[{"name":"cola","modifiers":"no ice"}]}"#,
                "modifiers",
            ),
            (
                r#"{"items":[{"name":"cola","modifiers":["ice"]}]}"#,
                "modifiers",
            ),
        ] {
            let why = read_demo(arguments).unwrap_err();
            assert!(why.contains(word), "{arguments}: {why}");
        }
    }

    #[test]
    fn equal_lines_are_one_and_no_bound_is_passed() {
        let cola = read_demo(r#"{"items":[{"name":"cola","quantity":998}]}"#).unwrap();
        let one = read_demo(r#"{"items":[{"name":"cola"}]}"#).unwrap();
        let mut cart = Cart::default();
        assert!(cart.add(&cola).is_empty());
        assert!(cart.add(&one).is_empty());
        assert_eq!(cart.lines().len(), 1);
        assert_eq!(cart.add(&one), one);
        assert_eq!(cart.lines()[0].quantity, 999);
    }
}
