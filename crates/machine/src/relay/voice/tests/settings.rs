use super::*;
use crate::relay::voice::policy::Allow;

fn new(policy: Policy, asked: Value) -> Result<Settings, super::super::ApiError> {
    Settings::new(&Arc::new(policy), Some(&asked), &Defaults::default())
}

fn update(settings: &mut Settings, mut asked: Value) -> Result<(), super::super::ApiError> {
    asked["type"] = json!("realtime");
    settings.update(&asked)
}

fn demo() -> Settings {
    new(Policy::demo(), json!({"type": "realtime"})).unwrap()
}

#[test]
fn an_update_is_a_merge() {
    let mut settings = demo();
    update(
        &mut settings,
        json!({"instructions": "Be brief.", "tools": [{"type": "function", "name": "f"}],
            "audio": {"input": {"format": "g711_ulaw", "turn_detection": {"type": "server_vad", "threshold": 0.7}}}}),
    )
    .unwrap();
    // The second update of the official client names tracing alone.
    update(&mut settings, json!({"tracing": "auto"})).unwrap();
    let value = settings.to_value();
    assert_eq!(value["instructions"], "Be brief.");
    assert_eq!(value["tools"][0]["name"], "f");
    assert_eq!(
        value["audio"]["input"]["format"],
        json!({"type": "audio/pcmu"})
    );
    assert_eq!(value["audio"]["input"]["turn_detection"]["threshold"], 0.7);
    assert_eq!(
        value["audio"]["input"]["turn_detection"]["prefix_padding_ms"],
        300
    );
    update(
        &mut settings,
        json!({"instructions": "", "tools": [], "audio": {"input": {"turn_detection": null}}}),
    )
    .unwrap();
    let value = settings.to_value();
    assert_eq!(value["instructions"], "");
    assert_eq!(value["tools"], json!([]));
    assert_eq!(value["audio"]["input"]["turn_detection"], Value::Null);
    update(&mut settings, json!({"audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "high"}}}}))
        .unwrap();
    let value = settings.to_value();
    assert_eq!(
        value["audio"]["input"]["turn_detection"]["eagerness"],
        "high"
    );
    assert!(
        value["audio"]["input"]["turn_detection"]
            .get("threshold")
            .is_none()
    );
}

#[test]
fn null_sets_nothing_that_has_no_null() {
    let mut settings = demo();
    let before = settings.to_value();
    update(
        &mut settings,
        json!({"model": null, "output_modalities": null, "audio": {"output": null, "input": {"format": null,
            "turn_detection": {"type": null, "threshold": null, "create_response": null, "idle_timeout_ms": null,
            "eagerness": null}}}}),
    )
    .unwrap();
    assert_eq!(settings.to_value(), before);
}

#[test]
fn what_a_session_shows_it_also_takes() {
    let settings = demo();
    let shown = settings.to_session("sess_x", 0);
    let again = new(Policy::demo(), shown).unwrap();
    assert_eq!(again.to_value(), settings.to_value());
}

#[test]
fn what_is_wrong_is_refused_whole_and_with_its_place() {
    let mut settings = demo();
    let before = settings.clone();
    for (asked, param) in [
        (json!({"instructions": 7}), "session.instructions"),
        (
            json!({"instructions": "x".repeat(70_000)}),
            "session.instructions",
        ),
        (
            json!({"output_modalities": ["text", "audio"]}),
            "session.output_modalities",
        ),
        (
            json!({"output_modalities": []}),
            "session.output_modalities",
        ),
        (json!({"tools": {}}), "session.tools"),
        (
            json!({"tools": [{"type": "function", "name": "a b"}]}),
            "session.tools[0].name",
        ),
        (
            json!({"tools": [{"type": "function", "name": "f"}, {"type": "function", "name": "f"}]}),
            "session.tools[1].name",
        ),
        (json!({"tools": [{"type": "gun"}]}), "session.tools[0].type"),
        (json!({"tool_choice": "perhaps"}), "session.tool_choice"),
        (
            json!({"max_output_tokens": 5_000}),
            "session.max_output_tokens",
        ),
        (json!({"truncation": "hard"}), "session.truncation"),
        (json!({"audio": 1}), "session.audio"),
        (
            json!({"audio": {"input": {"format": "mp3"}}}),
            "session.audio.input.format",
        ),
        (
            json!({"audio": {"input": {"noise_reduction": {"type": "magic"}}}}),
            "session.audio.input.noise_reduction",
        ),
        (
            json!({"audio": {"input": {"transcription": "yes"}}}),
            "session.audio.input.transcription",
        ),
        (
            json!({"audio": {"input": {"turn_detection": {"type": "psychic"}}}}),
            "session.audio.input.turn_detection.type",
        ),
        (
            json!({"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 1.1}}}}),
            "session.audio.input.turn_detection.threshold",
        ),
        (
            json!({"audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 100}}}}),
            "session.audio.input.turn_detection.idle_timeout_ms",
        ),
        (
            json!({"audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "wild"}}}}),
            "session.audio.input.turn_detection.eagerness",
        ),
        (
            json!({"audio": {"output": {"speed": 2}}}),
            "session.audio.output.speed",
        ),
        (
            json!({"audio": {"output": {"voice": ""}}}),
            "session.audio.output.voice",
        ),
    ] {
        let mut asked = asked;
        // What is right beside it is not taken either.
        if asked.get("instructions").is_none() {
            asked["instructions"] = json!("changed");
        }
        let error = update(&mut settings, asked).unwrap_err();
        assert_eq!(error.param.as_deref(), Some(param), "{error}");
        assert_eq!(settings, before, "{param}");
    }
    assert_eq!(
        settings
            .update(&json!({"instructions": "x"}))
            .unwrap_err()
            .code,
        "missing_required_parameter"
    );
    let transcription = json!({"type": "transcription"});
    assert_eq!(
        settings
            .update(&transcription)
            .unwrap_err()
            .param
            .as_deref(),
        Some("session.type")
    );
}

#[test]
fn the_policy_wins() {
    let policy = Policy {
        models: vec!["small".into(), "large".into()],
        instructions: Some("Take orders.".into()),
        tools: Some(Vec::new()),
        ..Policy::demo()
    };
    let asked = json!({"type": "realtime", "model": "large", "instructions": "Sing.", "prompt": {"id": "p"},
        "tracing": "auto", "whatever": 1, "tools": [{"type": "function", "name": "f"}]});
    let mut settings = new(policy.clone(), asked).unwrap();
    let value = settings.to_value();
    assert_eq!(value["model"], "large");
    assert_eq!(value["instructions"], "Take orders.");
    assert_eq!(value["tools"], json!([]));
    for gone in ["prompt", "tracing", "whatever"] {
        assert!(value.get(gone).is_none(), "{gone}");
    }
    update(
        &mut settings,
        json!({"instructions": "Sing.", "tools": [{"type": "function", "name": "f"}]}),
    )
    .unwrap();
    assert_eq!(settings.to_value(), value);
    let error = new(policy.clone(), json!({"type": "realtime", "model": "huge"})).unwrap_err();
    assert_eq!(error.code, "model_not_found");
    // The first is taken when none is asked for.
    assert_eq!(
        new(policy, json!({"type": "realtime"})).unwrap().model(),
        "small"
    );
}

#[test]
fn what_the_policy_fixes_is_told_and_the_rest_holds() {
    let policy = Policy {
        instructions: Some("Take orders.".into()),
        tools: Some(Vec::new()),
        ..Policy::demo()
    };
    let mut call = Call::with(Edge::Rtc, policy, None);
    let mut update = |session: Value| {
        call.send(json!({"type": "session.update", "event_id": "mine", "session": session}))
    };
    let got = update(
        json!({"type": "realtime", "instructions": "Sing.", "max_output_tokens": 7,
        "tools": [{"type": "function", "name": "f"}], "prompt": {"id": "p"}, "tracing": "auto"}),
    );
    assert_eq!(kinds(&got), ["error", "session.updated"]);
    let error = &got[0]["error"];
    assert_eq!(error["code"], "fixed_by_policy");
    assert_eq!(error["event_id"], "mine");
    assert_eq!(error["param"], "session.instructions");
    let message = error["message"].as_str().unwrap();
    for field in ["session.instructions", "session.tools", "session.prompt"] {
        assert!(message.contains(field), "{message}");
    }
    assert!(
        !message.contains("Sing") && !message.contains("tracing"),
        "{message}"
    );
    assert_eq!(got[1]["session"]["instructions"], "Take orders.");
    assert_eq!(got[1]["session"]["max_output_tokens"], 7);
    // To ask for what holds is no offence.
    let same = json!({"type": "realtime", "instructions": "Take orders.", "tools": [], "prompt": null, "tracing": "auto"});
    assert_eq!(kinds(&update(same)), ["session.updated"]);
    let tools = json!({"type": "realtime", "tools": [{"type": "mcp", "server_label": "x", "server_url": "https://example.com"}]});
    let mut free = Call::new(Edge::Rtc);
    let got = free.send(json!({"type": "session.update", "session": tools}));
    assert_eq!(got[0]["error"]["param"], "session.tools");
    let mine = json!({"type": "realtime", "instructions": "Sing.", "tools": [{"type": "function", "name": "f"}]});
    let got = free.send(json!({"type": "session.update", "session": mine}));
    assert_eq!(kinds(&got), ["session.updated"], "nothing is fixed");
}

#[test]
fn what_reaches_outside_must_be_allowed() {
    let asked = json!({"type": "realtime", "prompt": {"id": "p"}, "tracing": "auto",
        "tools": [{"type": "mcp", "server_label": "x", "server_url": "https://example.com"}]});
    assert_eq!(
        new(Policy::demo(), asked.clone()).unwrap().to_value()["tools"],
        json!([])
    );
    let policy = Policy {
        allow: vec![Allow::Mcp, Allow::Prompt, Allow::Tracing],
        ..Policy::demo()
    };
    let value = new(policy, asked).unwrap().to_value();
    assert_eq!(value["tools"][0]["type"], "mcp");
    assert_eq!(value["prompt"]["id"], "p");
    assert_eq!(value["tracing"], "auto");
}

#[test]
fn a_model_is_chosen_once() {
    let mut settings = demo();
    update(&mut settings, json!({"model": "gpt-realtime-2.1"})).unwrap();
    update(&mut settings, json!({"model": "gpt-realtime-2.1"})).unwrap();
    assert_eq!(
        update(&mut settings, json!({"model": "gpt-realtime"}))
            .unwrap_err()
            .code,
        "cannot_update_model"
    );
    // Before the session begins it may be chosen again.
    assert_eq!(
        settings.with_model("gpt-realtime").unwrap().model(),
        "gpt-realtime"
    );
    let kept = settings
        .with(&json!({"type": "realtime", "instructions": "x"}))
        .unwrap();
    assert_eq!(kept.model(), "gpt-realtime-2.1");
    assert!(
        settings
            .update(&json!({"type": "realtime", "model": null}))
            .is_ok()
    );
}

#[test]
fn a_voice_stays_once_it_was_heard() {
    let mut call = Call::new(Edge::Socket);
    let voice = |name: &str| json!({"type": "session.update", "session": {"type": "realtime", "audio": {"output": {"voice": name}}}});
    assert_eq!(kinds(&call.send(voice("cedar"))), ["session.updated"]);
    call.ask("hello");
    call.refused(voice("marin"), "cannot_update_voice");
    assert_eq!(
        call.send(voice("cedar"))[0]["session"]["audio"]["output"]["voice"],
        "cedar"
    );
}

#[test]
fn two_updates_at_the_start_keep_each_others_fields() {
    let mut call = Call::new(Edge::Rtc);
    call.send(
        json!({"type": "session.update", "session": {"type": "realtime", "instructions": "A",
        "tools": [{"type": "function", "name": "f"}]}}),
    );
    let got = call.send(
        json!({"type": "session.update", "session": {"type": "realtime", "tracing": "auto"}}),
    );
    assert_eq!(got[0]["session"]["instructions"], "A");
    assert_eq!(got[0]["session"]["tools"][0]["name"], "f");
    assert_eq!(got[0]["session"]["tracing"], Value::Null);
}
