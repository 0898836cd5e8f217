//! `loopback:true` of the voice socket: said back at once, measured by the second.

use super::*;

fn config(format: &str) -> Value {
    json!({"type": "realtime", "audio": {
        "input": {"format": {"type": format}, "transcription": {"model": "x"},
            "turn_detection": {"type": "server_vad", "create_response": false, "interrupt_response": false}},
        "output": {"format": {"type": format}}}})
}

fn texts(call: &Call) -> (Vec<String>, Vec<String>) {
    let of = |kind: &str, key: &str| {
        let kind = format!("conversation.item.input_audio_transcription.{kind}");
        let texts = call
            .all(&kind)
            .into_iter()
            .map(|event| event[key].as_str().unwrap().to_owned());
        texts.collect::<Vec<_>>()
    };
    assert!(of("delta", "delta").is_empty());
    (of("segment", "text"), of("completed", "transcript"))
}

#[test]
fn each_sound_is_said_back_and_each_second_of_speech_is_measured() {
    for (format, name, rate) in [
        (Format::Pcm, "audio/pcm", Rate::Wide),
        (Format::Pcmu, "audio/pcmu", Rate::Narrow),
        (Format::Pcma, "audio/pcma", Rate::Narrow),
    ] {
        // By 25 ms as is usual, and all at once.
        for piece_ms in [25, 10_000] {
            let mut call = Call::with(Edge::Socket, Policy::demo(), Some(&config(name)));
            call.peer = call.peer.echoing();
            let mut sound = silence(rate, 500);
            sound.samples.extend(tone(rate, 440.0, 2_400).samples);
            sound.samples.extend(silence(rate, 800).samples);
            let mut said_back = Vec::new();
            for samples in sound.samples.chunks(piece_ms * rate.per_ms()) {
                let piece = Sound {
                    rate,
                    samples: samples.to_vec(),
                };
                let got = call.append(&piece, format);
                let back = of(&got, "response.output_audio.delta");
                assert_eq!(back.len(), 1, "{got:?}");
                said_back.extend(STANDARD.decode(back[0]["delta"].as_str().unwrap()).unwrap());
            }
            call.run(10_000);
            assert_eq!(said_back, sound.encode(format));
            let (partial, last) = texts(&call);
            assert_eq!(partial.len(), 2, "{partial:?}");
            assert!(
                partial[0].starts_with("1.0 s of sound") && partial[0].contains("440 Hz"),
                "{partial:?}"
            );
            assert_eq!(last.len(), 1);
            assert!(last[0].starts_with("2.4 s of sound"), "{last:?}");
            assert!(
                call.all("response.created").is_empty(),
                "nothing is answered"
            );
        }
    }
}
