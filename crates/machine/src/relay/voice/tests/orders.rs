use super::*;
use crate::relay::voice::policy::{Call as ScriptCall, Line};
use tautline_protocol::order::NewOrder;

/// The function calls among events: name, arguments, call id.
fn calls(events: &[Value]) -> Vec<(String, Value, String)> {
    of(events, "response.output_item.done")
        .iter()
        .filter(|event| event["item"]["type"] == "function_call")
        .map(|event| {
            let item = &event["item"];
            assert_eq!(item["status"], "completed");
            assert!(event["response_id"].is_string());
            (
                item["name"].as_str().unwrap().into(),
                serde_json::from_str(item["arguments"].as_str().unwrap()).unwrap(),
                item["call_id"].as_str().unwrap().into(),
            )
        })
        .collect()
}

fn output(call_id: &str, output: &str) -> Value {
    json!({"type": "conversation.item.create", "item": {
        "type": "function_call_output", "call_id": call_id, "output": output}})
}

fn said(events: &[Value]) -> String {
    of(events, "response.output_audio_transcript.done")
        .iter()
        .map(|event| event["transcript"].as_str().unwrap())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_text_becomes_an_order() {
    let mut call = Call::new(Edge::Rtc);
    let got = call.ask("two bacon burgers no pickles and a cola");
    let made = calls(&got);
    let [(name, arguments, call_id)] = &made[..] else {
        panic!("{made:?}")
    };
    assert_eq!(name, "add_to_order");
    assert_eq!(arguments["items"][0]["menu_item_id"], "bacon-burger");
    assert_eq!(arguments["items"][0]["quantity"], 2);
    assert_eq!(arguments["items"][0]["modifiers"], json!(["no pickles"]));
    assert_eq!(arguments["items"][1]["menu_item_id"], "cola");
    assert!(call_id.starts_with("call_"));
    // In progress first, or the official client runs it twice.
    let added = of(&got, "response.output_item.added");
    assert_eq!(added[0]["item"]["status"], "in_progress");
    assert_eq!(added[0]["item"]["arguments"], "");
    let done = of(&got, "response.function_call_arguments.done");
    assert_eq!(done[0]["name"], "add_to_order");

    call.send(output(call_id, "{\"ok\":true}"));
    call.refused(output(call_id, "again"), "invalid_tool_call_id");
    let from = call.events.len();
    call.send(json!({"type": "response.create"}));
    call.run(10_000);
    let text = said(&call.events[from..]);
    assert!(
        text.contains("2 Bacon burger (no pickles), 1 small Cola"),
        "{text}"
    );
    assert!(text.contains("21.80"), "{text}");

    let got = call.ask("that's all");
    let made = calls(&got);
    assert_eq!(made[0].0, "submit_order");
    let (id, order) = call.submitted[0].clone();
    assert_eq!(id, made[0].2);
    NewOrder::parse(&order).unwrap();
    let order: Value = serde_json::from_str(&order).unwrap();
    assert_eq!(order["type"], "takeout");
    assert_eq!(order["items"][0]["modifiers"][0]["name"], "no pickles");
    // The relay's to answer, not the client's.
    call.refused(output(&id, "mine"), "invalid_tool_call_id");

    let from = call.events.len();
    call.peer.ordered(
        &id,
        Ok(r#"{"id":"o1","order_number":"042","total":21.80}"#),
        call.now,
    );
    call.drain();
    call.run(10_000);
    let after = &call.events[from..];
    assert_eq!(
        kinds(after)[..3],
        [
            "conversation.item.added",
            "conversation.item.done",
            "response.created"
        ]
    );
    assert_eq!(after[0]["item"]["type"], "function_call_output");
    assert_eq!(after[0]["item"]["call_id"], id.as_str());
    assert!(said(after).contains("042"), "{}", said(after));
    // Told once, and the order is a new one.
    call.peer.ordered(&id, Ok("{}"), call.now);
    call.drain();
    assert!(said(&call.ask("submit")).contains("nothing in the order"));
    check(&call.events, Edge::Rtc);
}

#[test]
fn an_order_that_was_not_made_can_be_sent_again() {
    let mut call = Call::new(Edge::Socket);
    call.ask("a cola and that's all");
    let (id, _) = call.submitted[0].clone();
    let from = call.events.len();
    call.peer
        .ordered(&id, Err("the kitchen is closed"), call.now);
    call.drain();
    call.run(5_000);
    assert!(said(&call.events[from..]).contains("the kitchen is closed"));
    call.ask("submit");
    assert_eq!(call.submitted.len(), 2);
    assert_ne!(call.submitted[1].0, id);
    assert_eq!(call.submitted[1].1, call.submitted[0].1);
}

/// A client whose call was lost tells the next one what was said: the order it was about goes on, too.
#[test]
fn an_order_goes_on_in_the_call_that_takes_a_lost_ones_place() {
    let told = |call: &mut Call, call_id: &str, name: &str, items: &str, answer: Option<&str>| {
        call.send(json!({"type": "conversation.item.create", "item": {
            "type": "function_call", "call_id": call_id, "name": name, "arguments": items}}));
        if let Some(answer) = answer {
            call.send(output(call_id, answer));
        }
    };
    let cola = r#"{"items":[{"menu_item_id":"cola","quantity":2}]}"#;
    let shown = r#"{"items":[{"menu_item_id":"lobster","quantity":1}]}"#;

    let mut call = Call::new(Edge::Rtc);
    told(
        &mut call,
        "call_1",
        "add_to_order",
        cola,
        Some("{\"ok\":true}"),
    );
    told(
        &mut call,
        "call_2",
        "add_to_order",
        shown,
        Some("{\"ok\":true}"),
    );
    call.ask("a burger and that's all");
    let order: Value = serde_json::from_str(&call.submitted[0].1).unwrap();
    assert_eq!(order["items"][0]["menu_item_id"], "cola");
    assert_eq!(order["items"][0]["quantity"], 2);
    assert_eq!(order["items"][1]["menu_item_id"], "burger");

    // One that was sent is over; one that was refused, or of which nobody knows, is not.
    for (answer, left) in [
        (Some(r#"{"ok":true}"#), 0),
        (Some(r#"{"ok":false,"error":"closed"}"#), 1),
        (None, 1),
    ] {
        let mut call = Call::new(Edge::Rtc);
        told(
            &mut call,
            "call_1",
            "add_to_order",
            cola,
            Some("{\"ok\":true}"),
        );
        told(&mut call, "call_2", "submit_order", cola, answer);
        assert!(call.submitted.is_empty(), "it is told of, not asked for");
        call.ask("submit");
        assert_eq!(call.submitted.len(), left, "{answer:?}");
    }
}

#[test]
fn what_is_made_while_another_answer_runs_is_told_after_it() {
    let mut call = Call::new(Edge::Socket);
    call.ask("a cola and that's all");
    let (id, _) = call.submitted[0].clone();
    call.send(user("hello"));
    call.send(json!({"type": "response.create"}));
    call.peer
        .ordered(&id, Ok(r#"{"order_number":"7"}"#), call.now);
    call.drain();
    call.run(10_000);
    assert!(call.all("error").is_empty());
    assert!(said(&call.events).contains("Order 7"));
    check(&call.events, Edge::Socket);
}

#[test]
fn a_response_asked_for_while_an_order_is_made_says_what_became_of_it() {
    for edge in [Edge::Socket, Edge::Rtc] {
        let mut call = Call::new(edge);
        call.ask("a cola and that's all");
        let (id, _) = call.submitted[0].clone();
        let from = call.events.len();
        let create =
            json!({"type": "response.create", "response": {"metadata": {"whose": "the client's"}}});
        assert!(call.send(create.clone()).is_empty());
        call.refused(create, "conversation_already_has_active_response");
        call.run(1_000);
        assert!(of(&call.events[from..], "response.created").is_empty());
        call.peer
            .ordered(&id, Ok(r#"{"order_number":"7"}"#), call.now);
        call.drain();
        call.run(10_000);
        let after = &call.events[from..];
        let created = of(after, "response.created");
        assert_eq!(created.len(), 1);
        assert_eq!(created[0]["response"]["metadata"]["whose"], "the client's");
        let text = said(after);
        assert!(
            text.contains("Order 7") && !text.contains("nothing"),
            "{text}"
        );
        // Only that one: what the client asks for next is answered at once.
        assert!(said(&call.ask("hello")).contains("hello"));
        assert!(call.last("response.created")["response"]["metadata"].is_null());
        check(&call.events, edge);
    }
}

#[test]
fn what_is_said_while_an_order_is_made_is_answered_at_once() {
    let mut call = Call::new(Edge::Socket);
    call.ask("a cola and that's all");
    assert!(said(&call.ask("hello")).contains("hello"));
}

#[test]
fn a_session_without_the_tools_is_told_in_words() {
    let mut call = Call::new(Edge::Socket);
    call.send(json!({"type": "session.update", "session": {"type": "realtime", "tools": []}}));
    let got = call.ask("two colas and a pizza");
    assert!(calls(&got).is_empty());
    assert!(said(&got).contains("2 small Cola") && said(&got).contains("Not on the menu: pizza"));
    let got = call.ask("submit");
    assert!(said(&got).contains("no tool submit_order"));
    assert!(call.submitted.is_empty());
}

#[test]
fn a_tool_of_the_clients_own_is_called_by_name_or_by_force() {
    let mut call = Call::new(Edge::Socket);
    call.send(
        json!({"type": "session.update", "session": {"type": "realtime", "tools": [
        {"type": "function", "name": "get_weather", "parameters": {}}]}}),
    );
    let made = calls(&call.ask(r#"call get_weather {"city":"Paris"}"#));
    assert_eq!(made[0].0, "get_weather");
    assert_eq!(made[0].1, json!({"city": "Paris"}));
    call.send(output(&made[0].2, "sunny"));
    let from = call.events.len();
    call.send(json!({"type": "response.create"}));
    call.run(5_000);
    // What the tones are is told once.
    assert_eq!(
        said(&call.events[from..]),
        "get_weather answered: sunny (The tones stand for a voice: this is a test peer.)"
    );
    assert!(!said(&call.ask("hello")).contains("tones"));
    assert!(call.submitted.is_empty());
    for choice in [
        json!("required"),
        json!({"type": "function", "name": "get_weather"}),
    ] {
        call.send(user("what is it like outside"));
        let from = call.events.len();
        call.send(json!({"type": "response.create", "response": {"tool_choice": choice}}));
        call.run(5_000);
        assert_eq!(calls(&call.events[from..])[0].0, "get_weather");
    }
    call.send(
        json!({"type": "session.update", "session": {"type": "realtime", "tool_choice": "none"}}),
    );
    assert!(calls(&call.ask("call get_weather")).is_empty());
}

#[test]
fn a_script_comes_before_the_menu() {
    let policy = Policy {
        script: vec![
            Line {
                when: "speech".into(),
                say: Some("I was told to say this.".into()),
                call: None,
            },
            Line {
                when: "the usual".into(),
                say: None,
                call: Some(ScriptCall {
                    name: "submit_order".into(),
                    arguments: json!({"items": [{"menu_item_id": "coffee", "quantity": 1}]})
                        .as_object()
                        .unwrap()
                        .clone(),
                }),
            },
        ],
        ..Policy::demo()
    };
    policy.check().unwrap();
    let mut call = Call::with(Edge::Rtc, policy, None);
    call.ask("The usual, please");
    assert!(call.submitted[0].1.contains("coffee"));
    call.hear(&tone(Rate::Narrow, 440.0, 500).samples);
    call.hear(&silence(Rate::Narrow, 3_000).samples);
    assert!(said(&call.events).contains("I was told to say this."));
}

#[test]
fn a_call_that_cannot_be_an_order_is_told_why() {
    let mut call = Call::new(Edge::Socket);
    let got = call.ask(r#"call submit_order {"items":[{"menu_item_id":"pizza"}]}"#);
    assert!(call.submitted.is_empty());
    let told = of(&got, "conversation.item.added")
        .into_iter()
        .find(|event| event["item"]["type"] == "function_call_output")
        .unwrap();
    assert!(
        told["item"]["output"]
            .as_str()
            .unwrap()
            .contains("not on the menu")
    );
    assert!(said(&got).contains("not on the menu"));
    check(&call.events, Edge::Socket);
}

#[test]
fn text_in_text_out() {
    let mut call = Call::with(
        Edge::Socket,
        Policy::demo(),
        Some(&json!({"type": "realtime", "output_modalities": ["text"]})),
    );
    let got = call.ask("good morning to you");
    assert!(of(&got, "response.output_audio.delta").is_empty());
    let deltas: String = of(&got, "response.output_text.delta")
        .iter()
        .map(|event| event["delta"].as_str().unwrap())
        .collect();
    assert_eq!(of(&got, "response.output_text.done")[0]["text"], deltas);
    assert!(deltas.contains("good morning to you"));
    let item = &of(&got, "response.output_item.done")[0]["item"];
    assert_eq!(item["content"][0]["type"], "output_text");
    assert_eq!(
        of(&got, "response.content_part.done")[0]["part"]["type"],
        "text"
    );
    check(&call.events, Edge::Socket);
}

#[test]
fn an_order_is_neither_sent_nor_taken_twice() {
    let mut call = Call::new(Edge::Socket);
    call.ask("a cola");
    // Asked about the same text once more: what is in the order stays as it is.
    let from = call.events.len();
    call.send(json!({"type": "response.create"}));
    call.run(5_000);
    assert!(calls(&call.events[from..]).is_empty());
    assert!(said(&call.events[from..]).contains("The order so far: 1 small Cola."));
    // An aside takes nothing into the order.
    call.send(json!({"type": "response.create", "response": {"conversation": "none", "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "nine burgers"}]}]}}));
    call.run(5_000);
    call.ask("submit");
    let order: Value = serde_json::from_str(&call.submitted[0].1).unwrap();
    assert_eq!(order["items"].as_array().unwrap().len(), 1);
    assert_eq!(order["items"][0]["quantity"], 1);
    // While it is on its way there is nothing more to send, and what comes now is the next order's.
    assert!(said(&call.ask("submit")).contains("nothing in the order"));
    call.ask("two burgers");
    let id = call.submitted[0].0.clone();
    call.peer.ordered(&id, Ok("{}"), call.now);
    call.drain();
    call.run(5_000);
    call.ask("submit");
    assert_eq!(call.submitted.len(), 2);
    let order: Value = serde_json::from_str(&call.submitted[1].1).unwrap();
    assert_eq!(order["items"][0]["menu_item_id"], "burger");
    assert_eq!(order["items"][0]["quantity"], 2);
    check(&call.events, Edge::Socket);
}

#[test]
fn without_a_menu_every_call_is_the_clients() {
    let mut call = Call::with(
        Edge::Socket,
        Policy::default(),
        Some(&json!({"type": "realtime", "tools": [{"type": "function", "name": "submit_order"}]})),
    );
    let made =
        calls(&call.ask(r#"call submit_order {"items":[{"menu_item_id":"cola","quantity":1}]}"#));
    assert_eq!(made[0].0, "submit_order");
    assert!(call.submitted.is_empty());
    call.send(output(
        &made[0].2,
        r#"{"ok":true,"order":{"order_number":"9"}}"#,
    ));
    let from = call.events.len();
    call.send(json!({"type": "response.create"}));
    call.run(5_000);
    assert!(call.all("error").is_empty());
    assert!(said(&call.events[from..]).contains("Order 9"));
    assert!(said(&call.ask("two burgers")).contains("I read"));
}
