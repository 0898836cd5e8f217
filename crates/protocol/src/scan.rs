//! The shape of a message, in one pass before anything is parsed: what a parser would have to hold or could be
//! deceived by (`docs/protocol.md`, Limits). Whether it is JSON at all is the parser's question.

use crate::limits;
use std::borrow::Cow;
use std::fmt;

/// What is wrong with a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// More than [`limits::MAX_DEPTH`] levels.
    Depth,
    /// More than [`limits::OBJECT_KEYS`] keys in one object.
    Keys,
    /// A key twice in one object: readers disagree on which holds.
    Twice,
    /// A number beyond a 64-bit float.
    Number,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Depth => write!(f, "at most {} levels of nesting", limits::MAX_DEPTH),
            Self::Keys => write!(f, "at most {} keys in one object", limits::OBJECT_KEYS),
            Self::Twice => f.write_str("a key may be in an object only once"),
            Self::Number => f.write_str("a number is beyond a 64-bit float"),
        }
    }
}

/// A key of an open object: its hash, and where its text is, without the quotes.
struct Key<'a> {
    hash: u64,
    text: &'a str,
}

/// Looks a message over.
///
/// # Errors
/// The first breach from the left.
pub fn check(text: &str) -> Result<(), Breach> {
    let bytes = text.as_bytes();
    // For each open object the number of keys before its own; `None` for an array.
    let mut open: Vec<Option<usize>> = Vec::with_capacity(8);
    let mut keys: Vec<Key<'_>> = Vec::with_capacity(32);
    let (mut at, mut key_next) = (0, false);
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => {
                let end = string_end(bytes, at);
                if std::mem::take(&mut key_next)
                    && let Some(Some(first)) = open.last().copied()
                {
                    add(&mut keys, first, text.get(at..end).unwrap_or_default())?;
                }
                at = end + 1;
            }
            b'{' | b'[' => {
                if open.len() >= limits::MAX_DEPTH {
                    return Err(Breach::Depth);
                }
                key_next = byte == b'{';
                open.push(key_next.then_some(keys.len()));
            }
            b'}' | b']' => {
                if let Some(Some(first)) = open.pop() {
                    keys.truncate(first);
                }
                key_next = false;
            }
            b',' => key_next = matches!(open.last(), Some(Some(_))),
            b'-' | b'0'..=b'9' => {
                let from = at - 1;
                let part =
                    |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
                at += bytes
                    .get(at..)
                    .unwrap_or_default()
                    .iter()
                    .take_while(|byte| part(byte))
                    .count();
                finite(text.get(from..at).unwrap_or_default())?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where a string's closing quote is; past the end when there is none.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(next) = rest.iter().position(|&byte| byte == b'"' || byte == b'\\') else {
            return bytes.len();
        };
        at += next;
        if bytes.get(at) == Some(&b'"') {
            return at;
        }
        at += 2;
    }
}

fn add<'a>(keys: &mut Vec<Key<'a>>, first: usize, text: &'a str) -> Result<(), Breach> {
    let own = keys.get(first..).unwrap_or_default();
    if own.len() >= limits::OBJECT_KEYS {
        return Err(Breach::Keys);
    }
    let hash = hash(&plain(text));
    let same = |key: &Key<'_>| key.hash == hash && plain(key.text) == plain(text);
    if own.iter().any(same) {
        return Err(Breach::Twice);
    }
    keys.push(Key { hash, text });
    Ok(())
}

/// A key without its escapes; as it is when they make no sense, which the parser will say.
fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    serde_json::from_str(&["\"", text, "\""].concat()).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// FNV-1a, 64 bits: keys are short, and equal hashes are looked at again.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn finite(number: &str) -> Result<(), Breach> {
    // The largest float has 309 digits; anything shorter needs an exponent to be beyond it.
    if number.len() < 309 && !number.contains(['e', 'E']) {
        return Ok(());
    }
    match number.parse::<f64>() {
        Ok(value) if !value.is_finite() => Err(Breach::Number),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn object(keys: usize) -> String {
        let keys: Vec<_> = (0..keys).map(|n| format!("\"k{n}\":{n}")).collect();
        format!("{{{}}}", keys.join(","))
    }

    #[test]
    fn nesting_at_its_bound_and_above() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(check(&deep(limits::MAX_DEPTH)), Ok(()));
        assert_eq!(check(&deep(limits::MAX_DEPTH + 1)), Err(Breach::Depth));
        let side_by_side = format!("[{}]", vec![deep(limits::MAX_DEPTH - 1); 50].join(","));
        assert_eq!(check(&side_by_side), Ok(()));
        assert_eq!(check(&format!("\"{}\"", "[".repeat(99))), Ok(()));
    }

    #[test]
    fn keys_at_their_bound_and_above_an_object_at_a_time() {
        assert_eq!(check(&object(limits::OBJECT_KEYS)), Ok(()));
        assert_eq!(check(&object(limits::OBJECT_KEYS + 1)), Err(Breach::Keys));
        let full = object(limits::OBJECT_KEYS);
        assert_eq!(check(&format!("[{full},{full},{{\"a\":{full}}}]")), Ok(()));
    }

    #[test]
    fn a_key_is_told_once_however_it_is_spelt() {
        for twice in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"b":{},"\u0061":2}"#,
            r#"{"a\"":1 , "a\"":2}"#,
            r#"{"x":[{"k":1},{"k":{"a":1,"b":2,"a":3}}]}"#,
            r#"{"":1,"":2}"#,
        ] {
            assert_eq!(check(twice), Err(Breach::Twice), "{twice}");
        }
        for once in [
            r#"{"a":"a","b":"a"}"#,
            r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#,
            r#"["a","a",{"a":["a","a"]}]"#,
            r#"{"a":"x\"","b":"\\","c":","}"#,
            r#"{"a,\"a":1,"a":2}"#,
        ] {
            assert_eq!(check(once), Ok(()), "{once}");
        }
    }

    #[test]
    fn numbers_have_an_end() {
        for good in [
            "1e308",
            "-1.5",
            "1e-999",
            "0",
            "17976931348623157e292",
            &"9".repeat(308),
        ] {
            assert_eq!(check(&format!("[{good}]")), Ok(()), "{good}");
        }
        for bad in [
            "1e309",
            "-1e999",
            "2E+308",
            "1e99999999999",
            &"9".repeat(400),
        ] {
            assert_eq!(
                check(&format!("{{\"a\":{bad}}}")),
                Err(Breach::Number),
                "{bad}"
            );
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>()
                .prop_map(|n| serde_json::Number::from_f64(n).map_or(Value::Null, Value::Number)),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..8)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_a_serialiser_writes_passes(value in values()) {
            prop_assert_eq!(check(&value.to_string()), Ok(()));
            prop_assert_eq!(check(&serde_json::to_string_pretty(&value).unwrap()), Ok(()));
        }

        #[test]
        fn an_object_with_a_key_of_its_own_again_does_not(value in values(), key in any::<String>()) {
            let key = serde_json::to_string(&key).unwrap();
            prop_assert_eq!(check(&format!("[{{{key}:{value},{key}:0}}]")), Err(Breach::Twice));
        }

        #[test]
        fn no_text_breaks_it(text in any::<String>(), json in r#"[\[\]{}",:\\0-9eE+.a -]{0,64}"#) {
            let _ = (check(&text), check(&json));
        }
    }
}
