use super::*;
use tautline_protocol::limits;

fn respond() -> Value {
    json!({"type": "response.create"})
}

#[test]
fn what_is_no_event_is_refused_and_the_session_goes_on() {
    let mut call = Call::new(Edge::Socket);
    for text in ["", "nonsense", "[]", "7", r#"{"type":"#] {
        let got = call.send_text(text);
        assert_eq!(got[0]["error"]["code"], "invalid_event", "{text}");
        assert_eq!(got[0]["error"]["event_id"], Value::Null);
        assert_eq!(got[0]["error"]["type"], "invalid_request_error");
    }
    call.refused(json!({}), "invalid_event");
    call.refused(json!({"type": 7}), "invalid_event");
    call.refused(json!({"type": "response.make"}), "invalid_event");
    call.refused(
        json!({"type": "session.update"}),
        "missing_required_parameter",
    );
    call.refused(
        json!({"type": "conversation.item.retrieve"}),
        "missing_required_parameter",
    );
    let got = call.send_text(r#"{"type":"response.create","event_id":7}"#);
    assert_eq!(got[0]["error"]["param"], "event_id");
    assert_eq!(
        kinds(&call.send(user("hi"))),
        ["conversation.item.added", "conversation.item.done"]
    );
}

#[test]
fn one_response_at_a_time() {
    let mut call = Call::new(Edge::Socket);
    call.send(user("hello"));
    call.send(respond());
    let error = call.refused(respond(), "conversation_already_has_active_response");
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap()
            .contains("response.create")
    );
    // Outside the conversation another one may run, and adds nothing to it.
    let got = call.send(json!({"type": "response.create", "response": {
        "conversation": "none", "output_modalities": ["text"], "metadata": {"a": "b"},
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "aside"}]}]}}));
    assert_eq!(got[0]["response"]["metadata"], json!({"a": "b"}));
    assert_eq!(got[0]["response"]["conversation_id"], Value::Null);
    call.run(5_000);
    let done = call.all("response.done");
    assert_eq!(done.len(), 2);
    let aside = done
        .iter()
        .find(|e| e["response"]["metadata"]["a"] == "b")
        .unwrap();
    let text = aside["response"]["output"][0]["content"][0]["text"]
        .as_str()
        .unwrap();
    assert!(text.contains("aside"));
    assert!(
        !call
            .all("conversation.item.added")
            .iter()
            .any(|event| { event["item"]["id"] == aside["response"]["output"][0]["id"] })
    );
    check(&call.events, Edge::Socket);
    // And a further one begins as soon as the last is done.
    assert_eq!(call.send(respond())[0]["type"], "response.created");
}

#[test]
fn a_cancel_is_answered_by_the_end_of_the_response() {
    let mut call = Call::new(Edge::Socket);
    call.refused(
        json!({"type": "response.cancel"}),
        "response_cancel_not_active",
    );
    call.send(user("hello"));
    call.send(respond());
    let id = call.last("response.created")["response"]["id"].clone();
    call.refused(
        json!({"type": "response.cancel", "response_id": "resp_other"}),
        "response_cancel_not_active",
    );
    let got = call.send(json!({"type": "response.cancel", "response_id": id}));
    let done = got.last().unwrap();
    assert_eq!(done["type"], "response.done");
    assert_eq!(done["response"]["status"], "cancelled");
    assert_eq!(
        done["response"]["status_details"]["reason"],
        "client_cancelled"
    );
    assert_eq!(call.run(5_000), [] as [Value; 0]);
    call.refused(
        json!({"type": "response.cancel"}),
        "response_cancel_not_active",
    );
    check(&call.events, Edge::Socket);
}

#[test]
fn a_commit_needs_a_tenth_of_a_second() {
    let mut call = Call::with(
        Edge::Socket,
        Policy::demo(),
        Some(&json!({"type": "realtime", "audio": {"input": {"turn_detection": null}}})),
    );
    let commit = json!({"type": "input_audio_buffer.commit"});
    call.refused(commit.clone(), "input_audio_buffer_commit_empty");
    call.append(&tone(Rate::Wide, 440.0, 99), Format::Pcm);
    call.refused(commit.clone(), "input_audio_buffer_commit_empty");
    call.append(&tone(Rate::Wide, 440.0, 1), Format::Pcm);
    assert_eq!(
        call.send(commit.clone())[0]["type"],
        "input_audio_buffer.committed"
    );
    // It is taken; there is nothing left.
    call.refused(commit, "input_audio_buffer_commit_empty");
}

#[test]
fn appends_are_bounded_and_checked() {
    let mut call = Call::with(
        Edge::Socket,
        Policy::demo(),
        Some(&json!({"type": "realtime", "audio": {"input": {"turn_detection": null}}})),
    );
    let append = |audio: Value| json!({"type": "input_audio_buffer.append", "audio": audio});
    call.refused(append(json!(7)), "invalid_value");
    call.refused(append(json!("@@@")), "invalid_value");
    call.refused(append(json!(STANDARD.encode([0; 3]))), "invalid_value");
    call.refused(
        append(json!("A".repeat(limits::VOICE_APPEND_BYTES / 3 * 4 + 8))),
        "invalid_value",
    );
    let half = json!(STANDARD.encode(vec![0; limits::VOICE_WAITING_BYTES / 2]));
    assert_eq!(call.send(append(half.clone())), [] as [Value; 0]);
    assert_eq!(call.send(append(half.clone())), [] as [Value; 0]);
    call.refused(append(json!("AAAA")), "invalid_value");
    call.refused(append(json!("AAA=")), "input_audio_buffer_full");
    assert_eq!(
        kinds(&call.send(json!({"type": "input_audio_buffer.clear"}))),
        ["input_audio_buffer.cleared"]
    );
    assert_eq!(call.send(append(half)), [] as [Value; 0]);
    let mut call = Call::new(Edge::Rtc);
    call.refused(append(json!("AAAA")), "invalid_event");
}

#[test]
fn items_are_put_retrieved_and_deleted() {
    let mut call = Call::new(Edge::Socket);
    let item = |id: &str, before: Value| {
        json!({"type": "conversation.item.create", "previous_item_id": before, "item": {
            "id": id, "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": id}]}})
    };
    assert_eq!(
        call.send(item("b", Value::Null))[0]["previous_item_id"],
        Value::Null
    );
    assert_eq!(
        call.send(item("a", json!("root")))[0]["previous_item_id"],
        Value::Null
    );
    assert_eq!(call.send(item("c", json!("b")))[1]["previous_item_id"], "b");
    call.refused(
        item("d", json!("x")),
        "item_create_invalid_previous_item_id",
    );
    call.refused(item("a", Value::Null), "item_create_duplicate_item_id");
    call.refused(item("root", Value::Null), "invalid_value");
    let got = call.send(json!({"type": "conversation.item.retrieve", "item_id": "a"}));
    assert_eq!(
        got[0]["item"]["content"][0],
        json!({"type": "output_text", "text": "a"})
    );
    assert_eq!(
        call.send(json!({"type": "conversation.item.delete", "item_id": "a"}))[0]["item_id"],
        "a"
    );
    call.refused(
        json!({"type": "conversation.item.retrieve", "item_id": "a"}),
        "item_retrieve_invalid_item_id",
    );
    call.refused(
        json!({"type": "conversation.item.delete", "item_id": "a"}),
        "item_delete_invalid_item_id",
    );
    check(&call.events, Edge::Socket);
}

#[test]
fn items_that_make_no_sense_are_refused() {
    let mut call = Call::new(Edge::Socket);
    let message = |role: &str, part: Value| json!({"type": "conversation.item.create", "item": {"type": "message", "role": role, "content": [part]}});
    for (item, code) in [
        (
            message(
                "assistant",
                json!({"type": "output_audio", "audio": "AAAA"}),
            ),
            "invalid_value",
        ),
        (
            message("system", json!({"type": "input_audio", "audio": "AAAA"})),
            "invalid_value",
        ),
        (
            message("user", json!({"type": "output_text", "text": "x"})),
            "invalid_value",
        ),
        (
            message("user", json!({"type": "input_text"})),
            "invalid_value",
        ),
        (
            message("king", json!({"type": "input_text", "text": "x"})),
            "invalid_value",
        ),
        (
            json!({"type": "conversation.item.create", "item": {"type": "mcp_call"}}),
            "invalid_value",
        ),
        (
            json!({"type": "conversation.item.create", "item": {}}),
            "missing_required_parameter",
        ),
        (
            json!({"type": "conversation.item.create", "item": []}),
            "invalid_value",
        ),
        (
            json!({"type": "conversation.item.create", "item": {
                "type": "function_call_output", "call_id": "call_x", "output": "1"}}),
            "invalid_tool_call_id",
        ),
        (
            message(
                "user",
                json!({"type": "input_text", "text": "x".repeat(limits::VOICE_ITEM_BYTES + 1)}),
            ),
            "string_above_max_length",
        ),
        (
            message(
                "user",
                json!({"type": "input_image", "image_url": "x".repeat(limits::VOICE_ITEM_BYTES)}),
            ),
            "item_too_large",
        ),
    ] {
        call.refused(item, code);
    }
}

#[test]
fn truncating_follows_what_there_is() {
    let mut call = Call::new(Edge::Socket);
    call.append(&tone(Rate::Wide, 440.0, 1_000), Format::Pcm);
    call.append(&silence(Rate::Wide, 300), Format::Pcm);
    call.run(5_000);
    let id = call.last("response.output_item.done")["item"]["id"].clone();
    let cut = |ms: Value| json!({"type": "conversation.item.truncate", "item_id": id, "content_index": 0, "audio_end_ms": ms});
    call.refused(cut(json!(10_000)), "invalid_value");
    call.refused(cut(json!(10.5)), "invalid_value");
    call.refused(cut(json!(-1)), "invalid_value");
    call.refused(cut(Value::Null), "missing_required_parameter");
    let got = call.send(cut(json!(500)));
    assert_eq!(got[0]["type"], "conversation.item.truncated");
    assert_eq!(got[0]["audio_end_ms"], 500);
    // It is shorter now.
    call.refused(cut(json!(501)), "invalid_value");
    let got = call.send(json!({"type": "conversation.item.retrieve", "item_id": id}));
    let content = &got[0]["item"]["content"][0];
    assert_eq!(content["transcript"], Value::Null);
    let audio = STANDARD.decode(content["audio"].as_str().unwrap()).unwrap();
    assert_eq!(audio.len(), 500 * 48);
    // The user's own, a text, nobody's.
    let user_item = call.all("input_audio_buffer.committed")[0]["item_id"].clone();
    for (id, code) in [
        (user_item, "unsupported_content_type"),
        (json!("nobody"), "item_truncate_invalid_item_id"),
    ] {
        call.refused(
            json!({"type": "conversation.item.truncate", "item_id": id, "audio_end_ms": 1}),
            code,
        );
    }
}

#[test]
fn the_buffer_of_what_is_played_is_webrtcs() {
    let clear = json!({"type": "output_audio_buffer.clear"});
    Call::new(Edge::Socket).refused(clear.clone(), "invalid_event");
    let mut call = Call::new(Edge::Rtc);
    // Nothing was ever played: nothing to say, and no error.
    assert_eq!(call.send(clear.clone()), [] as [Value; 0]);
    call.hear(&tone(Rate::Narrow, 440.0, 2_000).samples);
    call.hear(&silence(Rate::Narrow, 300).samples);
    call.run(400);
    let playing = call.played.len();
    let got = call.send(clear.clone());
    assert_eq!(
        kinds(&got),
        ["output_audio_buffer.cleared", "conversation.item.truncated"]
    );
    assert_eq!(got[1]["audio_end_ms"], playing as u64 * 20);
    call.run(3_000);
    assert_eq!(call.played.len(), playing);
    // To be sure, once more.
    assert_eq!(kinds(&call.send(clear)), ["output_audio_buffer.cleared"]);
    check(&call.events, Edge::Rtc);
}

#[test]
fn a_manual_interrupt_cancels_and_clears() {
    let mut call = Call::new(Edge::Rtc);
    call.hear(&tone(Rate::Narrow, 440.0, 20_000).samples);
    call.hear(&silence(Rate::Narrow, 300).samples);
    let got = call.send(json!({"type": "response.cancel"}));
    assert_eq!(got.last().unwrap()["response"]["status"], "cancelled");
    let got = call.send(json!({"type": "output_audio_buffer.clear"}));
    assert_eq!(
        kinds(&got),
        ["output_audio_buffer.cleared", "conversation.item.truncated"]
    );
    assert_eq!(call.run(5_000), [] as [Value; 0]);
    check(&call.events, Edge::Rtc);
}

#[test]
fn what_is_too_large_for_a_data_channel_stays_out_of_it() {
    let mut call = Call::new(Edge::Rtc);
    call.hear(&tone(Rate::Narrow, 440.0, 20_000).samples);
    call.hear(&silence(Rate::Narrow, 300).samples);
    let id = call.last("input_audio_buffer.committed")["item_id"].clone();
    let got = call.send(json!({"type": "conversation.item.retrieve", "item_id": id}));
    assert_eq!(got[0]["item"]["content"][0].get("audio"), None);
    assert_eq!(got[0]["item"]["content"][0]["transcript"], Value::Null);
    // Six bytes of JSON each: a session that no longer fits is told as an error.
    let got = call.send(json!({"type": "session.update", "session": {
        "type": "realtime", "instructions": "\u{1}".repeat(60_000)}}));
    assert_eq!(kinds(&got), ["error"]);
    assert_eq!(got[0]["error"]["code"], "event_too_large");
}

#[test]
fn a_bound_on_the_length_of_an_answer_is_kept() {
    let mut call = Call::new(Edge::Socket);
    call.send(user("hello"));
    call.send(json!({"type": "response.create", "response": {
        "output_modalities": ["text"], "max_output_tokens": 2}}));
    call.run(2_000);
    let response = &call.last("response.done")["response"];
    assert_eq!(response["status"], "incomplete");
    assert_eq!(response["status_details"]["reason"], "max_output_tokens");
    assert_eq!(response["output"][0]["content"][0]["text"], "I read:");
    assert_eq!(response["usage"]["output_tokens"], 2);
}

#[test]
fn options_of_a_response_are_checked() {
    let mut call = Call::new(Edge::Socket);
    for (key, value) in [
        ("conversation", json!("mine")),
        ("output_modalities", json!(["text", "audio"])),
        ("max_output_tokens", json!(0)),
        ("metadata", json!({"a": 1})),
        ("metadata", json!({"a": "x".repeat(513)})),
        ("tools", json!([{"type": "function"}])),
        ("tool_choice", json!("maybe")),
        ("input", json!([{"type": "item_reference", "id": "nobody"}])),
        ("input", json!("text")),
        ("audio", json!({"output": {"format": "mp3"}})),
    ] {
        call.refused(
            json!({"type": "response.create", "response": {key: value}}),
            "invalid_value",
        );
    }
    call.refused(
        json!({"type": "response.create", "response": 7}),
        "invalid_value",
    );
    assert!(call.all("response.created").is_empty());
}

#[test]
fn a_usage_has_every_counter() {
    let mut call = Call::new(Edge::Socket);
    call.ask("hello there");
    let usage = &call.last("response.done")["response"]["usage"];
    for path in [
        "/total_tokens",
        "/input_tokens",
        "/output_tokens",
        "/input_token_details/text_tokens",
        "/input_token_details/audio_tokens",
        "/input_token_details/image_tokens",
        "/input_token_details/cached_tokens",
        "/input_token_details/cached_tokens_details/text_tokens",
        "/output_token_details/text_tokens",
        "/output_token_details/audio_tokens",
    ] {
        assert!(usage.pointer(path).is_some_and(Value::is_u64), "{path}");
    }
    assert_eq!(usage["input_token_details"]["text_tokens"], 2);
    assert!(
        usage["output_token_details"]["audio_tokens"]
            .as_u64()
            .unwrap()
            > 0
    );
}

#[test]
fn a_sideband_is_greeted_and_the_driver_can_speak() {
    let mut call = Call::new(Edge::Rtc);
    let greeting: Value = serde_json::from_str(&call.peer.greeting().unwrap()).unwrap();
    assert_eq!(greeting["type"], "session.created");
    assert_eq!(greeting["session"]["id"], "sess_1");
    call.peer.error(&super::super::ApiError::server(
        "session_expiring",
        "One minute left.",
    ));
    call.drain();
    assert_eq!(call.last("error")["error"]["code"], "session_expiring");
    assert_eq!(call.last("error")["error"]["event_id"], Value::Null);
}

#[test]
fn who_is_silent_is_idle() {
    let mut call = Call::new(Edge::Rtc);
    let start = call.peer.active_at();
    call.hear(&silence(Rate::Narrow, 2_000).samples);
    assert_eq!(call.peer.active_at(), start);
    call.hear(&tone(Rate::Narrow, 440.0, 200).samples);
    assert!(call.peer.active_at() > start);
}
