//! Text against a menu: `two bacon burgers no pickles and a cola`.
//!
//! A scan from left to right. Numbers and sizes wait for the item they belong to; "no" and "extra" change the item
//! before them, or the next one when a number is waiting. No grammar beyond that, and no guessing: what is not on the
//! menu is said to be not there.

use super::cart::{Choice, Line};
use super::menu::{Ingredient, Menu, MenuItem};
use tautline_protocol::limits;

/// What a text asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// What was found on the menu.
    pub(super) lines: Vec<Line>,
    /// What was not, in the text's words.
    pub(super) unknown: Vec<String>,
    /// The order is complete.
    pub(super) submit: bool,
}

/// The most words of a text that are looked at.
const WORDS: usize = 500;

const SUBMIT: &[&str] = &[
    "thats all",
    "that is all",
    "thats it",
    "that is it",
    "thats everything",
    "that will be all",
    "thatll be all",
    "nothing else",
    "im done",
    "i am done",
    "submit",
    "submit order",
    "submit the order",
    "submit my order",
    "send it",
    "send order",
    "send the order",
    "send my order",
    "place order",
    "place the order",
    "place my order",
    "order it",
    "checkout",
    "check out",
];
const LESS: &[&str] = &["no", "without", "hold", "minus", "not", "dont"];
const MORE: &[&str] = &["extra", "add", "plus", "with", "more"];
const FILLERS: &[&str] = &[
    "a", "am", "an", "and", "any", "as", "be", "but", "can", "could", "do", "for", "get", "give",
    "good", "have", "hello", "hey", "hi", "i", "id", "ill", "im", "in", "is", "it", "just", "let",
    "like", "make", "me", "maybe", "my", "of", "off", "ok", "okay", "on", "one", "or", "order",
    "please", "portion", "portions", "said", "size", "sized", "so", "some", "take", "thank",
    "thanks", "that", "the", "them", "then", "there", "these", "to", "too", "um", "us", "want",
    "we", "well", "will", "would", "yes", "times", "x", "you", "also", "another", "each", "both",
    "all",
];
const BETWEEN: &[&str] = &["the", "any", "some", "a", "an", "of", "want", "like", "on"];

/// Words of a text, lower case, as they are looked up and as they were written.
struct Words {
    written: Vec<String>,
    stems: Vec<String>,
}

impl Words {
    fn of(text: &str) -> Self {
        let mut written = Vec::new();
        for word in text.split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '\u{2019}')) {
            let word: String = word
                .chars()
                .filter(|c| c.is_alphanumeric())
                .flat_map(char::to_lowercase)
                .collect();
            // "2x" is a number and how it is said.
            let digits = word.trim_start_matches(|c: char| c.is_ascii_digit());
            if digits == "x" && word.len() > 1 {
                written.push(word.trim_end_matches('x').to_owned());
            } else if !word.is_empty() {
                written.push(word);
            }
            if written.len() >= WORDS {
                break;
            }
        }
        let stems = written.iter().map(|word| singular(word)).collect();
        Self { written, stems }
    }

    fn len(&self) -> usize {
        self.written.len()
    }

    fn written(&self, at: usize) -> &str {
        self.written.get(at).map_or("", |word| word)
    }

    /// How many words a phrase takes from there; 0 when it is not there.
    fn phrase(&self, at: usize, phrase: &[String]) -> usize {
        let there = self.stems.get(at..).is_some_and(|rest| {
            !phrase.is_empty()
                && rest.len() >= phrase.len()
                && rest.iter().zip(phrase).all(|(a, b)| a == b)
        });
        if there { phrase.len() } else { 0 }
    }
}

/// Whether a phrase's words are in a text, in a row; for scripts.
pub(super) fn contains(text: &str, phrase: &str) -> bool {
    let (text, phrase) = (Words::of(text), Words::of(phrase));
    (0..text.len()).any(|at| text.phrase(at, &phrase.stems) > 0)
}

fn singular(word: &str) -> String {
    let cut = |n: usize| word.get(..word.len() - n).unwrap_or(word);
    let ends = |endings: &[&str]| endings.iter().any(|ending| word.ends_with(ending));
    if word.len() <= 3 {
        word.to_owned()
    } else if word.ends_with("ies") {
        format!("{}y", cut(3))
    } else if ends(&["sses", "xes", "ches", "shes", "oes"]) {
        cut(2).to_owned()
    } else if word.ends_with('s') && !ends(&["ss", "us", "is"]) {
        cut(1).to_owned()
    } else {
        word.to_owned()
    }
}

/// A number at that word: its value and how many words it has.
fn number(words: &Words, at: usize) -> Option<(u32, usize)> {
    let word = words.written(at);
    if let Ok(number) = word.parse::<u32>() {
        return Some((number, 1));
    }
    let units = |word: &str| {
        Some(match word {
            "one" => 1,
            "two" => 2,
            "three" => 3,
            "four" => 4,
            "five" => 5,
            "six" => 6,
            "seven" => 7,
            "eight" => 8,
            "nine" => 9,
            _ => return None,
        })
    };
    let tens = match word {
        "a" | "an" | "another" => {
            let next = words.written(at + 1);
            return Some(match next {
                "couple" => (2, 2),
                "dozen" => (12, 2),
                _ => (1, 1),
            });
        }
        "couple" => return Some((2, 1)),
        "dozen" => return Some((12, 1)),
        "ten" => return Some((10, 1)),
        "eleven" => return Some((11, 1)),
        "twelve" => return Some((12, 1)),
        "thirteen" => return Some((13, 1)),
        "fourteen" => return Some((14, 1)),
        "fifteen" => return Some((15, 1)),
        "sixteen" => return Some((16, 1)),
        "seventeen" => return Some((17, 1)),
        "eighteen" => return Some((18, 1)),
        "nineteen" => return Some((19, 1)),
        "twenty" => 20,
        "thirty" => 30,
        "forty" => 40,
        "fifty" => 50,
        "sixty" => 60,
        "seventy" => 70,
        "eighty" => 80,
        "ninety" => 90,
        word => return units(word).map(|unit| (unit, 1)),
    };
    Some(match units(words.written(at + 1)) {
        Some(unit) => (tens + unit, 2),
        None => (tens, 1),
    })
}

struct Scan<'a> {
    menu: &'a Menu,
    words: Words,
    items: Vec<(Vec<String>, &'a MenuItem)>,
    ingredients: Vec<(Vec<String>, &'a Ingredient)>,
    asked: Asked,
    /// A number that waits for its item.
    quantity: Option<u32>,
    size: Option<String>,
    /// Changes that wait with the number.
    changes: Vec<(bool, &'a Ingredient)>,
    /// Words in a row that mean nothing here.
    unknown: Vec<String>,
}

/// Reads a text.
pub(super) fn read(text: &str, menu: &Menu) -> Asked {
    let phrases = |name: &str, words: &[String]| -> Vec<Vec<String>> {
        std::iter::once(name)
            .chain(words.iter().map(String::as_str))
            .map(|phrase| Words::of(phrase).stems)
            .collect()
    };
    let mut scan = Scan {
        menu,
        words: Words::of(text),
        items: menu
            .items
            .iter()
            .flat_map(|item| {
                phrases(&item.name, &item.words)
                    .into_iter()
                    .map(move |phrase| (phrase, item))
            })
            .collect(),
        ingredients: menu
            .ingredients
            .iter()
            .flat_map(|ingredient| {
                phrases(&ingredient.name, &ingredient.words)
                    .into_iter()
                    .map(move |phrase| (phrase, ingredient))
            })
            .collect(),
        asked: Asked::default(),
        quantity: None,
        size: None,
        changes: Vec::new(),
        unknown: Vec::new(),
    };
    let mut at = 0;
    while at < scan.words.len() {
        at += scan.step(at).max(1);
    }
    scan.flush();
    scan.asked
}

impl<'a> Scan<'a> {
    /// Reads from that word on, and says how many words it took.
    fn step(&mut self, at: usize) -> usize {
        if let Some(taken) = self.submit(at) {
            self.flush();
            self.asked.submit = true;
            return taken;
        }
        if let Some((item, taken)) = self.item(at) {
            self.take(item);
            return taken;
        }
        let word = self.words.written(at).to_owned();
        let less = LESS.contains(&word.as_str());
        if less || MORE.contains(&word.as_str()) {
            if let Some(taken) = self.change(at, less) {
                return taken;
            }
            return 1;
        }
        if let Some((number, taken)) = number(&self.words, at) {
            // "a" is a number only before something to count.
            let article = matches!(word.as_str(), "a" | "an" | "another");
            if article && number == 1 && self.quantity.is_some() && self.changes.is_empty() {
                return taken;
            }
            self.flush();
            self.quantity = Some(number);
            return taken;
        }
        let sized = |item: &MenuItem| {
            item.sizes
                .iter()
                .any(|size| size.name.eq_ignore_ascii_case(&word))
        };
        if self.menu.items.iter().any(sized) {
            self.flush_unknown();
            self.size = Some(word);
            return 1;
        }
        if FILLERS.contains(&word.as_str()) {
            self.flush_unknown();
        } else {
            self.unknown.push(word);
        }
        1
    }

    fn submit(&self, at: usize) -> Option<usize> {
        SUBMIT
            .iter()
            .map(|phrase| {
                let phrase: Vec<&str> = phrase.split(' ').collect();
                let there = self
                    .words
                    .written
                    .get(at..at + phrase.len())
                    .is_some_and(|words| words.iter().zip(&phrase).all(|(a, b)| a == b));
                if there { phrase.len() } else { 0 }
            })
            .max()
            .filter(|&taken| taken > 0)
    }

    /// The item with the longest name from there.
    fn item(&self, at: usize) -> Option<(&'a MenuItem, usize)> {
        longest(&self.items, &self.words, at)
    }

    fn ingredient(&self, at: usize) -> Option<(&'a Ingredient, usize)> {
        let (ingredient, taken) = longest(&self.ingredients, &self.words, at)?;
        // "extra bacon burger": an item that goes on further is what is meant.
        let item = self.item(at).map_or(0, |(_, taken)| taken);
        (taken > item).then_some((ingredient, taken))
    }

    fn take(&mut self, item: &'a MenuItem) {
        // Words before a name that is known are about it ("spicy cola"), or about nothing.
        self.flush_unknown();
        let quantity = self.quantity.take().unwrap_or(1);
        if !(1..=limits::ITEM_QUANTITY).contains(&quantity) {
            self.asked.unknown.push(format!("{quantity} {}", item.name));
            self.size = None;
            self.changes.clear();
            return;
        }
        let mut line = Line::new(item, quantity);
        if let Some(size) = self.size.take()
            && !line.resize(item, &size)
        {
            self.asked.unknown.push(format!("{size} {}", item.name));
        }
        self.asked.lines.push(line);
        for (less, ingredient) in std::mem::take(&mut self.changes) {
            self.apply(less, ingredient);
        }
    }

    /// "no pickles or onions", "extra cheese", "no cola". `None` when nothing that follows can be left out or added.
    fn change(&mut self, at: usize, less: bool) -> Option<usize> {
        let mut next = at + 1;
        while BETWEEN.contains(&self.words.written(next)) {
            next += 1;
        }
        let Some((ingredient, taken)) = self.ingredient(next) else {
            if !less {
                return None;
            }
            // Not wanted at all: better said than silently ordered.
            let (item, taken) = self.item(next)?;
            self.flush();
            self.asked.unknown.push(format!("no {}", item.name));
            return Some(next + taken - at);
        };
        self.flush_unknown();
        self.hold(less, ingredient);
        next += taken;
        loop {
            let mut after = next;
            while matches!(self.words.written(after), "and" | "or" | "nor") {
                after += 1;
            }
            let Some((ingredient, taken)) = self.ingredient(after) else {
                return Some(next - at);
            };
            self.hold(less, ingredient);
            next = after + taken;
        }
    }

    fn hold(&mut self, less: bool, ingredient: &'a Ingredient) {
        if self.quantity.is_some() || self.asked.lines.is_empty() {
            self.changes.push((less, ingredient));
        } else {
            self.size_last();
            self.apply(less, ingredient);
        }
    }

    /// Changes the last line.
    fn apply(&mut self, less: bool, ingredient: &'a Ingredient) {
        let menu = self.menu;
        let sign = if less { "no" } else { "extra" };
        let line = self.asked.lines.last_mut();
        let item = line.as_ref().and_then(|line| menu.item(&line.menu_item_id));
        match (line, item) {
            (Some(line), Some(item)) if item.ingredients.contains(&ingredient.id) => {
                let choice = if less {
                    Choice::without(ingredient)
                } else {
                    Choice::extra(ingredient)
                };
                line.change(ingredient, choice);
            }
            _ => self
                .asked
                .unknown
                .push(format!("{sign} {}", ingredient.name)),
        }
    }

    /// A size that no item followed is the last line's: "fries, large".
    fn size_last(&mut self) {
        let Some(size) = self.size.take() else { return };
        let Some(line) = self.asked.lines.last_mut() else {
            return;
        };
        if let Some(item) = self.menu.item(&line.menu_item_id)
            && !line.resize(item, &size)
        {
            let name = format!("{size} {}", line.name);
            self.asked.unknown.push(name);
        }
    }

    fn flush_unknown(&mut self) {
        if self.unknown.is_empty() {
            return;
        }
        self.asked.unknown.push(self.unknown.join(" "));
        self.unknown.clear();
        // The number was that thing's.
        self.quantity = None;
        self.size = None;
        self.changes.clear();
    }

    /// Nothing waits any more: a number with changes and no item is some of the last line ("one without onions").
    fn flush(&mut self) {
        self.flush_unknown();
        let quantity = self.quantity.take();
        let changes = std::mem::take(&mut self.changes);
        match (quantity, self.asked.lines.last_mut()) {
            (Some(some), Some(last))
                if !changes.is_empty() && (1..last.quantity).contains(&some) =>
            {
                last.quantity -= some;
                let mut line = last.clone();
                line.quantity = some;
                self.asked.lines.push(line);
            }
            _ => {}
        }
        self.size_last();
        for (less, ingredient) in changes {
            self.apply(less, ingredient);
        }
    }
}

fn longest<'a, T>(
    phrases: &[(Vec<String>, &'a T)],
    words: &Words,
    at: usize,
) -> Option<(&'a T, usize)> {
    phrases
        .iter()
        .map(|(phrase, what)| (*what, words.phrase(at, phrase)))
        .filter(|&(_, taken)| taken > 0)
        .max_by_key(|&(_, taken)| taken)
}

#[cfg(test)]
mod tests {
    use super::super::cart::describe;
    use super::*;
    use proptest::prelude::*;

    fn demo(text: &str) -> Asked {
        read(text, &Menu::demo())
    }

    /// The text gives these lines, nothing unknown, and does not submit.
    #[track_caller]
    fn gives(text: &str, lines: &str) {
        let asked = demo(text);
        assert_eq!(describe(&asked.lines), lines, "{text}");
        assert_eq!(asked.unknown, [""; 0], "{text}");
        assert!(!asked.submit, "{text}");
    }

    #[test]
    fn the_sentence() {
        gives(
            "two bacon burgers no pickles and a cola",
            "2 Bacon burger (no pickles), 1 small Cola",
        );
    }

    #[test]
    fn numbers_as_words_and_digits() {
        gives("3 burgers", "3 Burger");
        gives("3x burger", "3 Burger");
        gives("3 x burger and 12 water", "3 Burger, 12 Water");
        gives("twenty one coffees", "21 Coffee");
        gives("a dozen nuggets", "12 Chicken nuggets");
        gives("a couple of burgers", "2 Burger");
        gives(
            "an onion rings and another burger",
            "1 small Onion rings, 1 Burger",
        );
        gives("seventeen burgers", "17 Burger");
        gives("burger", "1 Burger");
    }

    #[test]
    fn numbers_without_sense_are_not_ordered() {
        for text in ["0 burgers", "1000 burgers", "4000000000 burgers"] {
            let asked = demo(text);
            assert_eq!(asked.lines, [], "{text}");
            assert_eq!(asked.unknown.len(), 1, "{text}");
        }
    }

    #[test]
    fn plurals_and_other_names() {
        gives("cokes and chips", "1 small Cola, 1 small Fries");
        gives("2 vanilla milkshakes", "2 Vanilla shake");
        gives("CHEESEBURGERS please!", "1 Cheeseburger");
        gives("two cheese burgers", "2 Cheeseburger");
    }

    #[test]
    fn the_longest_name_wins() {
        gives("bacon burger", "1 Bacon burger");
        gives("a burger with bacon", "1 Burger (extra bacon)");
        gives("extra bacon burger", "1 Bacon burger");
        gives("bottle of water", "1 Water");
    }

    #[test]
    fn changes_are_the_item_befores() {
        gives(
            "burger without onions and a cola",
            "1 Burger (no onions), 1 small Cola",
        );
        gives("burger hold the pickles", "1 Burger (no pickles)");
        gives(
            "a burger, no pickles or onions, extra cheese",
            "1 Burger (no pickles, no onions, extra cheese)",
        );
        gives("burger with extra cheese", "1 Burger (extra cheese)");
        gives("burger add gherkins", "1 Burger (extra pickles)");
        gives("i don't want tomatoes on my burger", "1 Burger (no tomato)");
        gives("cola no ice", "1 small Cola (no ice)");
    }

    #[test]
    fn changes_between_number_and_item_are_that_items() {
        gives(
            "a cola and two no pickles burgers",
            "1 small Cola, 2 Burger (no pickles)",
        );
    }

    #[test]
    fn some_of_the_last_line_may_differ() {
        gives(
            "three burgers, one without onions",
            "2 Burger, 1 Burger (no onions)",
        );
        gives(
            "two burgers one with no cheese and a cola",
            "1 Burger, 1 Burger (no cheese), 1 small Cola",
        );
    }

    #[test]
    fn the_later_change_wins() {
        gives("burger no cheese extra cheese", "1 Burger (extra cheese)");
    }

    #[test]
    fn sizes() {
        gives("a large cola", "1 large Cola");
        gives("fries, large", "1 large Fries");
        gives("cola, large fries", "1 small Cola, 1 large Fries");
        gives(
            "two medium fries and a large lemonade no ice",
            "2 medium Fries, 1 large Lemonade (no ice)",
        );
        gives("a large size cola", "1 large Cola");
        let asked = demo("a large burger");
        assert_eq!(describe(&asked.lines), "1 Burger");
        assert_eq!(asked.unknown, ["large Burger"]);
    }

    #[test]
    fn a_quantity_is_its_own_items() {
        gives(
            "two burgers, cola and three fries",
            "2 Burger, 1 small Cola, 3 small Fries",
        );
        gives("add two colas", "2 small Cola");
    }

    #[test]
    fn what_is_not_on_the_menu_is_said() {
        let asked = demo("two pizzas and a cola");
        assert_eq!(describe(&asked.lines), "1 small Cola");
        assert_eq!(asked.unknown, ["pizzas"]);
        let asked = demo("a cola with no bacon");
        assert_eq!(describe(&asked.lines), "1 small Cola");
        assert_eq!(asked.unknown, ["no bacon"]);
        assert_eq!(demo("what's the weather").lines, []);
    }

    #[test]
    fn what_is_not_wanted_is_not_ordered() {
        let asked = demo("a burger and no cola");
        assert_eq!(describe(&asked.lines), "1 Burger");
        assert_eq!(asked.unknown, ["no Cola"]);
        assert_eq!(demo("I don't want a cola").lines, []);
    }

    #[test]
    fn the_end_of_an_order() {
        for text in [
            "That's all",
            "that\u{2019}s it, thanks",
            "submit",
            "Send the order please",
            "place order",
            "I'm done",
            "that is all",
            "nothing else",
        ] {
            let asked = demo(text);
            assert!(asked.submit, "{text}");
            assert_eq!(asked.lines, [], "{text}");
        }
        let asked = demo("a cola and that's all");
        assert!(asked.submit);
        assert_eq!(describe(&asked.lines), "1 small Cola");
        assert!(!demo("is that all cheese").submit);
    }

    #[test]
    fn nothing_is_nothing() {
        for text in ["", " ", "...", "please", "and a", "no", "extra", "large"] {
            assert_eq!(demo(text), Asked::default(), "{text:?}");
        }
        assert_eq!(read("two burgers", &Menu::default()).lines, []);
    }

    #[test]
    fn scripts_match_words_in_a_row() {
        assert!(contains("Hello there, friend", "there friend"));
        assert!(!contains("there is a friend", "there friend"));
        assert!(!contains("anything", ""));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_no_bound_is_passed(text in "\\PC{0,200}") {
            for line in demo(&text).lines {
                prop_assert!((1..=limits::ITEM_QUANTITY).contains(&line.quantity));
            }
        }

        #[test]
        fn no_sentence_of_known_words_panics(words in prop::collection::vec(prop::sample::select(vec![
            "two", "a", "no", "extra", "without", "pickles", "burger", "bacon", "cola", "large", "and", "pizza",
            "that's all", "0", "9999", "with", "one", "ice",
        ]), 0..30)) {
            for line in demo(&words.join(" ")).lines {
                prop_assert!((1..=limits::ITEM_QUANTITY).contains(&line.quantity));
            }
        }
    }
}
