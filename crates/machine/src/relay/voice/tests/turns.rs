use super::*;

#[test]
fn a_session_says_what_it_is() {
    let call = Call::new(Edge::Rtc);
    assert_eq!(
        kinds(&call.events),
        ["session.created", "conversation.created"]
    );
    let session = &call.events[0]["session"];
    assert_eq!(session["id"], "sess_1");
    assert_eq!(session["object"], "realtime.session");
    assert_eq!(session["expires_at"], 1_800_000_000);
    assert_eq!(
        session["audio"]["input"]["turn_detection"]["type"],
        "server_vad"
    );
    for key in [
        "type",
        "model",
        "output_modalities",
        "instructions",
        "tools",
        "tool_choice",
        "max_output_tokens",
        "truncation",
        "tracing",
        "prompt",
        "include",
    ] {
        assert!(session.get(key).is_some(), "{key}");
    }
    assert!(
        call.events[1]["conversation"]["id"]
            .as_str()
            .unwrap()
            .starts_with("conv_")
    );
}

#[test]
fn what_is_said_over_rtc_is_said_back_at_its_pace() {
    let mut call = Call::new(Edge::Rtc);
    call.hear(&silence(Rate::Narrow, 1_000).samples);
    call.hear(&tone(Rate::Narrow, 440.0, 1_200).samples);
    call.hear(&silence(Rate::Narrow, 3_000).samples);
    let turn: Vec<&str> = kinds(&call.events)[2..].to_vec();
    assert_eq!(
        turn.iter()
            .filter(|kind| !kind.ends_with(".delta"))
            .copied()
            .collect::<Vec<_>>(),
        [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "output_audio_buffer.started",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
            "output_audio_buffer.stopped",
        ]
    );
    assert_eq!(
        call.last("input_audio_buffer.speech_started")["audio_start_ms"],
        700
    );
    assert_eq!(
        call.last("input_audio_buffer.speech_stopped")["audio_end_ms"],
        2_400
    );
    let transcript = &call.last("response.output_audio_transcript.done")["transcript"];
    assert_eq!(
        transcript,
        "I heard 1.2 s of sound, peak \u{2212}12 dBFS, loudest near 440 Hz."
    );
    // 300 ms before, 1200 of tone, 200 of quiet after.
    assert_eq!(call.played.len(), 1_700 / 20);
    for pair in call.played.windows(2) {
        assert_eq!(pair[1].0 - pair[0].0, 20);
    }
    let heard: Vec<u8> = call
        .played
        .iter()
        .flat_map(|(_, frame)| frame.clone())
        .collect();
    let tone = tone(Rate::Narrow, 440.0, 1_200).encode(Format::Pcmu);
    assert_eq!(&heard[300 * 8..1_500 * 8], &tone[..]);
    check(&call.events, Edge::Rtc);
}

#[test]
fn a_fake_microphone_takes_turns() {
    let mut call = Call::with(
        Edge::Rtc,
        Policy::demo(),
        Some(
            &json!({"type": "realtime", "audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}),
        ),
    );
    for _ in 0..6 {
        // A beep of 20 ms each half second, not at the border of a frame.
        let mut second = silence(Rate::Narrow, 245);
        second.samples.extend(tone(Rate::Narrow, 400.0, 20).samples);
        second.samples.extend(silence(Rate::Narrow, 235).samples);
        call.hear(&second.samples);
    }
    call.hear(&silence(Rate::Narrow, 500).samples);
    call.run(5_000);
    assert_eq!(call.all("input_audio_buffer.speech_started").len(), 6);
    assert_eq!(call.all("input_audio_buffer.speech_stopped").len(), 6);
    assert_eq!(call.all("response.done").len(), 6);
    check(&call.events, Edge::Rtc);
}

#[test]
fn what_is_said_over_a_socket_comes_back_in_deltas() {
    for (format, name) in [
        (Format::Pcm, "audio/pcm"),
        (Format::Pcmu, "audio/pcmu"),
        (Format::Pcma, "audio/pcma"),
    ] {
        let mut call = Call::new(Edge::Socket);
        call.send(
            json!({"type": "session.update", "session": {"type": "realtime", "audio": {
            "input": {"format": {"type": name}}, "output": {"format": {"type": "audio/pcm"}}}}}),
        );
        let rate = format.rate();
        call.append(&silence(rate, 500), format);
        call.append(&tone(rate, 440.0, 600), format);
        call.append(&silence(rate, 500), format);
        call.run(5_000);
        let bytes: Vec<u8> = call
            .all("response.output_audio.delta")
            .iter()
            .flat_map(|event| STANDARD.decode(event["delta"].as_str().unwrap()).unwrap())
            .collect();
        // 300 + 600 + 200 ms
        assert_eq!(bytes.len(), 1_100 * 48, "{name}");
        let back = Sound::decode(Format::Pcm, &bytes).unwrap();
        assert!((super::super::measure::Facts::of(&back).hz.unwrap() - 440.0).abs() < 3.0);
        assert!(call.played.is_empty());
        check(&call.events, Edge::Socket);
    }
}

#[test]
fn speech_over_an_answer_ends_it_and_cuts_what_was_not_heard() {
    let mut call = Call::new(Edge::Rtc);
    call.hear(&tone(Rate::Narrow, 440.0, 3_000).samples);
    call.hear(&silence(Rate::Narrow, 220).samples);
    // The whole answer is made by now; a second of it is to be heard.
    call.run(1_000);
    assert_eq!(
        call.last("response.done")["response"]["status"],
        "completed"
    );
    let played = call.played.len();
    let from = call.events.len();
    call.hear(&tone(Rate::Narrow, 300.0, 100).samples);
    let after = &call.events[from..];
    assert_eq!(
        kinds(after),
        [
            "input_audio_buffer.speech_started",
            "output_audio_buffer.cleared",
            "conversation.item.truncated"
        ]
    );
    let cut_ms = after[2]["audio_end_ms"].as_u64().unwrap();
    assert_eq!(cut_ms, (call.played.len() as u64) * 20);
    assert!(call.played.len() - played <= 1);
    let id = after[2]["item_id"].clone();
    let got = call.send(json!({"type": "conversation.item.retrieve", "item_id": id}));
    let content = &got[0]["item"]["content"][0];
    assert_eq!(content["transcript"], Value::Null);
    assert!(content["audio"].is_string());
}

#[test]
fn speech_while_an_answer_is_being_made_cancels_it() {
    let mut call = Call::new(Edge::Rtc);
    call.hear(&tone(Rate::Narrow, 440.0, 20_000).samples);
    let from = call.events.len();
    call.hear(&silence(Rate::Narrow, 240).samples);
    call.hear(&tone(Rate::Narrow, 440.0, 60).samples);
    let after = &call.events[from..];
    let done = of(after, "response.done");
    assert_eq!(done[0]["response"]["status"], "cancelled");
    assert_eq!(
        done[0]["response"]["status_details"]["reason"],
        "turn_detected"
    );
    assert_eq!(done[0]["response"]["output"][0]["status"], "incomplete");
    for kind in [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.truncated",
    ] {
        assert_eq!(of(after, kind).len(), 1, "{kind}");
    }
    call.hear(&silence(Rate::Narrow, 500).samples);
    call.run(5_000);
    check(&call.events, Edge::Rtc);
}

#[test]
fn without_interrupt_response_the_answer_goes_on_and_the_next_follows() {
    let mut call = Call::with(
        Edge::Rtc,
        Policy::demo(),
        Some(
            &json!({"type": "realtime", "audio": {"input": {"turn_detection": {
            "type": "server_vad", "interrupt_response": false}}}}),
        ),
    );
    call.hear(&tone(Rate::Narrow, 440.0, 5_000).samples);
    call.hear(&silence(Rate::Narrow, 240).samples);
    call.hear(&tone(Rate::Narrow, 440.0, 60).samples);
    call.hear(&silence(Rate::Narrow, 400).samples);
    call.run(10_000);
    let done = call.all("response.done");
    assert_eq!(done.len(), 2);
    assert!(
        done.iter()
            .all(|event| event["response"]["status"] == "completed")
    );
    assert!(call.all("conversation.item.truncated").is_empty());
    assert_eq!(call.all("output_audio_buffer.stopped").len(), 2);
    check(&call.events, Edge::Rtc);
}

#[test]
fn push_to_talk_starts_nothing_by_itself() {
    let mut call = Call::with(
        Edge::Rtc,
        Policy::demo(),
        Some(
            &json!({"type": "realtime", "audio": {"input": {"turn_detection": null,
            "transcription": {"model": "gpt-4o-mini-transcribe"}}}}),
        ),
    );
    call.hear(&tone(Rate::Narrow, 440.0, 500).samples);
    call.send(json!({"type": "input_audio_buffer.clear"}));
    call.hear(&tone(Rate::Narrow, 880.0, 400).samples);
    let got = call.send(json!({"type": "input_audio_buffer.commit"}));
    assert_eq!(
        kinds(&got),
        [
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "conversation.item.input_audio_transcription.delta",
            "conversation.item.input_audio_transcription.completed",
        ]
    );
    let item = &got[1]["item"];
    assert_eq!(
        item["content"],
        json!([{"type": "input_audio", "transcript": null}])
    );
    assert_eq!(got[0]["item_id"], item["id"]);
    assert_eq!(
        got[4]["transcript"],
        "0.4 s of sound, peak \u{2212}12 dBFS, loudest near 880 Hz."
    );
    assert_eq!(got[4]["usage"], json!({"type": "duration", "seconds": 0.4}));
    assert_eq!(call.run(2_000), [] as [Value; 0]);
    call.send(json!({"type": "response.create"}));
    call.run(2_000);
    assert_eq!(call.played.len(), 400 / 20);
    check(&call.events, Edge::Rtc);
}

#[test]
fn create_response_false_leaves_the_answer_to_the_client() {
    let mut call = Call::with(
        Edge::Rtc,
        Policy::demo(),
        Some(
            &json!({"type": "realtime", "audio": {"input": {"turn_detection": {
            "type": "server_vad", "create_response": false}}}}),
        ),
    );
    call.hear(&tone(Rate::Narrow, 440.0, 500).samples);
    call.hear(&silence(Rate::Narrow, 500).samples);
    assert_eq!(call.all("input_audio_buffer.committed").len(), 1);
    assert!(call.all("response.created").is_empty());
}

#[test]
fn a_quiet_guest_is_spoken_to() {
    let mut call = Call::with(
        Edge::Rtc,
        Policy::demo(),
        Some(
            &json!({"type": "realtime", "audio": {"input": {"turn_detection": {
            "type": "server_vad", "idle_timeout_ms": 5_000}}}}),
        ),
    );
    call.ask("hello");
    let from = call.all("input_audio_buffer.timeout_triggered").len();
    assert!(from >= 1);
    let triggered = call.last("input_audio_buffer.timeout_triggered").clone();
    assert!(triggered["audio_start_ms"].is_u64() && triggered["item_id"].is_string());
    call.run(60_000);
    let said = call.last("response.output_audio_transcript.done")["transcript"].clone();
    assert!(said.as_str().unwrap().contains("silence"), "{said}");
    check(&call.events, Edge::Rtc);
}

#[test]
fn stopped_playing_is_told_after_the_response_and_only_when_it_is_so() {
    let mut call = Call::new(Edge::Rtc);
    call.ask("hello");
    let kinds = kinds(&call.events);
    let done = kinds
        .iter()
        .position(|&kind| kind == "response.done")
        .unwrap();
    let stopped = kinds
        .iter()
        .position(|&kind| kind == "output_audio_buffer.stopped")
        .unwrap();
    assert!(done < stopped);
    assert!(!call.played.is_empty());
}

#[test]
fn a_late_driver_does_not_flood() {
    let mut call = Call::new(Edge::Rtc);
    call.hear(&tone(Rate::Narrow, 440.0, 3_000).samples);
    call.hear(&silence(Rate::Narrow, 220).samples);
    let before = call.played.len();
    call.now = call.now + 2_000;
    call.peer.timeout(call.now);
    call.drain();
    assert!(call.played.len() - before <= 1);
    call.run(10_000);
    assert_eq!(call.played.len(), (3_000 + 200) / 20);
}

#[test]
fn the_longest_sound_that_can_wait_is_answered() {
    let mut call = Call::with(
        Edge::Socket,
        Policy::demo(),
        Some(&json!({"type": "realtime", "audio": {"input": {"turn_detection": null}}})),
    );
    let ms = tautline_protocol::limits::VOICE_WAITING_BYTES / 48;
    call.append(&tone(Rate::Wide, 440.0, ms), Format::Pcm);
    call.send(json!({"type": "input_audio_buffer.commit"}));
    call.send(json!({"type": "response.create"}));
    call.run(60_000);
    let bytes: usize = call
        .all("response.output_audio.delta")
        .iter()
        .map(|event| {
            STANDARD
                .decode(event["delta"].as_str().unwrap())
                .unwrap()
                .len()
        })
        .sum();
    assert_eq!(bytes, ms * 48);
}

#[test]
fn what_was_still_to_be_said_is_not_said_over_somebody() {
    let mut call = Call::new(Edge::Socket);
    call.send(user("a cola and that's all"));
    call.send(json!({"type": "response.create"}));
    call.run(5_000);
    let (id, _) = call.submitted[0].clone();
    call.send(user("hello"));
    call.send(json!({"type": "response.create"}));
    call.peer.ordered(&id, Ok("{}"), call.now);
    call.drain();
    let from = call.events.len();
    call.append(&tone(Rate::Wide, 440.0, 500), Format::Pcm);
    call.run(2_000);
    let during = &call.events[from..];
    assert_eq!(
        of(during, "response.done")[0]["response"]["status"],
        "cancelled"
    );
    assert!(of(during, "response.created").is_empty());
    call.append(&silence(Rate::Wide, 500), Format::Pcm);
    call.run(5_000);
    assert_eq!(of(&call.events[from..], "response.created").len(), 1);
    check(&call.events, Edge::Socket);
}
