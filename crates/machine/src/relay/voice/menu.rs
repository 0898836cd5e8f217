//! What a restaurant sells, as its voice policy says it: what text is matched against and orders are priced by.

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tautline_protocol::Cents;

/// Items of a menu, and the ingredients that may be left out of them or added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Menu {
    /// What is sold.
    pub items: Vec<MenuItem>,
    /// What items are changed by.
    pub ingredients: Vec<Ingredient>,
}

/// One thing on the menu.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MenuItem {
    /// `menu_item_id` of an order's item.
    pub id: String,
    /// What people read, in the singular.
    pub name: String,
    /// What else it is called.
    #[serde(default)]
    pub words: Vec<String>,
    /// Of one, in its smallest size.
    #[serde(deserialize_with = "cents")]
    pub price: Cents,
    /// Where it is made.
    #[serde(default)]
    pub station: Option<String>,
    /// The first is what is meant when none is said.
    #[serde(default)]
    pub sizes: Vec<Size>,
    /// Ids of the [`Ingredient`]s that may be left out or added.
    #[serde(default)]
    pub ingredients: Vec<String>,
}

/// A size of an item.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// `small`, `large`.
    pub name: String,
    /// What it adds to the price.
    #[serde(deserialize_with = "cents", default)]
    pub price: Cents,
}

/// Something that is left out of an item or added to it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingredient {
    /// Names it within the menu.
    pub id: String,
    /// What people read.
    pub name: String,
    /// What else it is called.
    #[serde(default)]
    pub words: Vec<String>,
    /// What more of it costs; less of it costs nothing less.
    #[serde(deserialize_with = "cents", default)]
    pub price: Cents,
}

/// Money as decimal text: a number would have been a float before anyone could look at it.
fn cents<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cents, D::Error> {
    let text = String::deserialize(deserializer)
        .map_err(|_| D::Error::custom("a price must be decimal text such as \"8.50\""))?;
    Cents::from_decimal(&text)
        .ok_or_else(|| D::Error::custom("a price must be decimal text such as \"8.50\""))
}

/// The most entries of one list of a menu.
const ENTRIES: usize = 1_000;
/// The longest name, in characters; an order's own bound for ids.
const NAME_CHARS: usize = 48;

impl Menu {
    /// Whether there is anything on it.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The item of that id.
    pub fn item(&self, id: &str) -> Option<&MenuItem> {
        self.items.iter().find(|item| item.id == id)
    }

    /// The ingredient of that id.
    pub fn ingredient(&self, id: &str) -> Option<&Ingredient> {
        self.ingredients.iter().find(|known| known.id == id)
    }

    /// Whether it can be ordered from; the message says what to change.
    pub fn check(&self) -> Result<(), String> {
        if self.items.len() > ENTRIES || self.ingredients.len() > ENTRIES {
            return Err(format!("menu: at most {ENTRIES} items and ingredients"));
        }
        let mut seen = BTreeSet::new();
        for ingredient in &self.ingredients {
            named("menu.ingredients", &ingredient.id, &ingredient.name)?;
            if !seen.insert(&ingredient.id) {
                return Err(format!(
                    "menu.ingredients: {:?} is there twice",
                    ingredient.id
                ));
            }
        }
        let mut seen = BTreeSet::new();
        for item in &self.items {
            named("menu.items", &item.id, &item.name)?;
            if !seen.insert(&item.id) {
                return Err(format!("menu.items: {:?} is there twice", item.id));
            }
            if let Some(unknown) = item
                .ingredients
                .iter()
                .find(|id| self.ingredient(id).is_none())
            {
                return Err(format!(
                    "menu.items: {:?} names the ingredient {unknown:?}, which menu.ingredients does not have",
                    item.id
                ));
            }
            for size in &item.sizes {
                named("menu.items.sizes", &size.name, &size.name)?;
            }
        }
        Ok(())
    }

    /// The tools a session has when its caller names none: one to tell the page what was added, one that the relay
    /// runs itself.
    pub fn tools(&self) -> Vec<Value> {
        if self.is_empty() {
            return Vec::new();
        }
        let ids: Vec<&str> = self.items.iter().map(|item| item.id.as_str()).collect();
        let items = json!({
            "type": "object",
            "properties": {"items": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "menu_item_id": {"type": "string", "enum": ids},
                        "name": {"type": "string"},
                        "quantity": {"type": "integer", "minimum": 1},
                        "size": {"type": "string"},
                        "modifiers": {
                            "type": "array",
                            "items": {"type": "string"},
                            "description": "\"no \" or \"extra \" and the name of an ingredient"
                        }
                    },
                    "required": ["menu_item_id", "quantity"]
                }
            }},
            "required": ["items"]
        });
        vec![
            json!({
                "type": "function",
                "name": ADD_TO_ORDER,
                "description": "Add items of the menu to the order that is being taken.",
                "parameters": items
            }),
            json!({
                "type": "function",
                "name": SUBMIT_ORDER,
                "description": "Send the whole order to the kitchen, once the guest has said that it is complete.",
                "parameters": items
            }),
        ]
    }

    /// A burger bar's.
    pub fn demo() -> Self {
        let ingredient = |id: &str, words: &[&str], price: u64| Ingredient {
            id: id.into(),
            name: id.into(),
            words: words.iter().map(|&word| word.into()).collect(),
            price: Cents::new(price).unwrap_or_default(),
        };
        let item = |id: &str, name: &str, words: &[&str], price: u64, station: &str| MenuItem {
            id: id.into(),
            name: name.into(),
            words: words.iter().map(|&word| word.into()).collect(),
            price: Cents::new(price).unwrap_or_default(),
            station: Some(station.into()),
            sizes: Vec::new(),
            ingredients: Vec::new(),
        };
        let burger = |mut item: MenuItem| {
            item.ingredients = [
                "pickles", "cheese", "onions", "tomato", "lettuce", "bacon", "ketchup", "mayo",
            ]
            .map(String::from)
            .to_vec();
            item
        };
        let sized = |mut item: MenuItem| {
            item.sizes = [("small", 0), ("medium", 60), ("large", 120)]
                .into_iter()
                .map(|(name, price)| Size {
                    name: name.into(),
                    price: Cents::new(price).unwrap_or_default(),
                })
                .collect();
            item
        };
        let with = |mut item: MenuItem, ids: &[&str]| {
            item.ingredients.extend(ids.iter().map(|&id| id.into()));
            item
        };
        Self {
            items: vec![
                burger(item("burger", "Burger", &["hamburger"], 750, "Grill")),
                burger(item(
                    "cheeseburger",
                    "Cheeseburger",
                    &["cheese burger"],
                    850,
                    "Grill",
                )),
                burger(item("bacon-burger", "Bacon burger", &[], 950, "Grill")),
                burger(item(
                    "veggie-burger",
                    "Veggie burger",
                    &["vegetarian burger"],
                    900,
                    "Grill",
                )),
                with(
                    item("nuggets", "Chicken nuggets", &["nuggets"], 620, "Fryer"),
                    &["ketchup", "mayo"],
                ),
                with(
                    sized(item(
                        "fries",
                        "Fries",
                        &["french fries", "chips"],
                        320,
                        "Fryer",
                    )),
                    &["ketchup", "mayo", "salt"],
                ),
                sized(item("onion-rings", "Onion rings", &[], 390, "Fryer")),
                with(
                    sized(item("cola", "Cola", &["coke"], 280, "Drinks")),
                    &["ice"],
                ),
                with(
                    sized(item("lemonade", "Lemonade", &[], 300, "Drinks")),
                    &["ice"],
                ),
                item(
                    "water",
                    "Water",
                    &["bottle of water", "bottled water"],
                    200,
                    "Drinks",
                ),
                item("coffee", "Coffee", &[], 250, "Drinks"),
                item(
                    "vanilla-shake",
                    "Vanilla shake",
                    &["vanilla milkshake"],
                    480,
                    "Drinks",
                ),
                item(
                    "chocolate-shake",
                    "Chocolate shake",
                    &["chocolate milkshake"],
                    480,
                    "Drinks",
                ),
                item(
                    "strawberry-shake",
                    "Strawberry shake",
                    &["strawberry milkshake"],
                    480,
                    "Drinks",
                ),
            ],
            ingredients: vec![
                ingredient("pickles", &["gherkins"], 30),
                ingredient("cheese", &[], 100),
                ingredient("onions", &[], 30),
                ingredient("tomato", &[], 50),
                ingredient("lettuce", &["salad"], 30),
                ingredient("bacon", &[], 150),
                ingredient("ketchup", &[], 30),
                ingredient("mayo", &["mayonnaise"], 30),
                ingredient("salt", &[], 0),
                ingredient("ice", &[], 0),
            ],
        }
    }
}

/// The tool the client runs: it shows the order as it grows.
pub const ADD_TO_ORDER: &str = "add_to_order";
/// The tool the relay runs: it makes the order.
pub const SUBMIT_ORDER: &str = "submit_order";

fn named(list: &str, id: &str, name: &str) -> Result<(), String> {
    let fits = |text: &str| !text.trim().is_empty() && text.chars().count() <= NAME_CHARS;
    if fits(id) && fits(name) {
        Ok(())
    } else {
        Err(format!(
            "{list}: an id and a name have 1 to {NAME_CHARS} characters, {id:?} does not"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_can_be_ordered_from() {
        Menu::demo().check().unwrap();
    }

    #[test]
    fn a_menu_that_does_not_hold_together_says_why() {
        let mut menu = Menu::demo();
        menu.items[0].ingredients.push("gold".into());
        assert!(menu.check().unwrap_err().contains("gold"));
        let mut menu = Menu::demo();
        menu.items.push(menu.items[0].clone());
        assert!(menu.check().unwrap_err().contains("twice"));
        let mut menu = Menu::demo();
        menu.items[0].name.clear();
        assert!(menu.check().unwrap_err().contains("1 to 48"));
    }

    #[test]
    fn a_price_is_text() {
        let read = |price: &str| {
            serde_json::from_str::<MenuItem>(&format!(r#"{{"id":"a","name":"A","price":{price}}}"#))
        };
        assert_eq!(read("\"8.50\"").unwrap().price.get(), 850);
        for wrong in ["8.5", "\"-1\"", "\"8.505\"", "null"] {
            assert!(
                read(wrong).unwrap_err().to_string().contains("8.50"),
                "{wrong}"
            );
        }
    }
}
