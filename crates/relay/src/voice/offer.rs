//! What is looked at in an offer before the WebRTC stack gets it, and what is taken out.

use tautline_protocol::limits;

/// The largest message a peer takes on a data channel when its offer does not say (RFC 8841 §6.1).
const UNSAID: usize = 64 * 1024;

/// An offer that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Without the candidates: nothing is ever sent to an address because an offer named it.
    pub(crate) sdp: String,
    /// The largest message its data channel takes, and we send.
    pub(crate) max_message: usize,
}

/// Why an offer cannot be answered, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfit(pub(crate) &'static str);

impl Offer {
    pub(crate) fn read(text: &str) -> Result<Self, Unfit> {
        if !text.starts_with("v=0") {
            return Err(Unfit(
                "The body is no SDP offer: send what createOffer() gave, beginning with v=0.",
            ));
        }
        let mut sdp = String::with_capacity(text.len());
        let (mut audio, mut channel, mut pcmu, mut max_message) = (false, false, false, UNSAID);
        let mut in_audio = false;
        for line in text
            .lines()
            .map(str::trim_end)
            .filter(|line| !line.is_empty())
        {
            let lower = line.to_ascii_lowercase();
            if lower.starts_with("a=candidate:") || lower == "a=end-of-candidates" {
                continue;
            }
            if let Some(media) = lower.strip_prefix("m=") {
                let mut words = media.split_whitespace();
                let kind = words.next();
                let rejected = words.next() == Some("0");
                in_audio = kind == Some("audio") && !rejected;
                audio |= in_audio;
                channel |= kind == Some("application") && !rejected;
                // Payload type 0 is PCMU, said or not (RFC 3551 §6).
                pcmu |= in_audio && words.skip(1).any(|format| format == "0");
            }
            if in_audio && lower.starts_with("a=rtpmap:") && lower.contains(" pcmu/8000") {
                pcmu = true;
            }
            if let Some(size) = lower.strip_prefix("a=max-message-size:") {
                max_message = match size.trim().parse() {
                    Ok(0) => limits::VOICE_CHANNEL_MESSAGE,
                    Ok(size) => size,
                    Err(_) => UNSAID,
                };
            }
            sdp.push_str(line);
            sdp.push_str("\r\n");
        }
        if !audio {
            return Err(Unfit(
                "The offer has no audio m-line: add an audio transceiver before createOffer(), even without a microphone.",
            ));
        }
        if !pcmu {
            return Err(Unfit(
                "The offer has no codec that this relay speaks: it takes PCMU (G.711 µ-law), which every WebRTC endpoint has.",
            ));
        }
        if !channel {
            return Err(Unfit(
                "The offer has no data channel: create \"oai-events\" before createOffer().",
            ));
        }
        Ok(Self {
            sdp,
            max_message: max_message.min(limits::VOICE_CHANNEL_MESSAGE),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\na=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\na=mid:0\r\na=end-of-candidates\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nA=Candidate:1 1 udp 1 192.0.2.1 5 typ host\r\na=max-message-size:262144\r\n";

    #[test]
    fn candidates_are_taken_out() {
        let offer = Offer::read(OFFER).unwrap();
        assert!(!offer.sdp.to_ascii_lowercase().contains("candidate"));
        assert!(offer.sdp.contains("a=mid:0\r\n"));
        assert_eq!(offer.max_message, 262_144);
    }

    #[test]
    fn the_largest_message_is_the_offers_or_ours() {
        let with = |said: &str| {
            let text = OFFER.replace("a=max-message-size:262144\r\n", said);
            Offer::read(&text).unwrap().max_message
        };
        assert_eq!(with(""), UNSAID);
        assert_eq!(
            with("a=max-message-size:0\r\n"),
            limits::VOICE_CHANNEL_MESSAGE
        );
        assert_eq!(with("a=max-message-size:1000\r\n"), 1000);
        assert_eq!(
            with("a=max-message-size:99999999\r\n"),
            limits::VOICE_CHANNEL_MESSAGE
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let unfit = |text: &str| Offer::read(text).unwrap_err().0;
        assert!(unfit("hello").contains("createOffer()"));
        assert!(unfit(&OFFER.replace("m=audio", "m=video")).contains("audio m-line"));
        assert!(unfit(&OFFER.replace("m=audio 9", "m=audio 0")).contains("audio m-line"));
        assert!(unfit(&OFFER.replace(" 111 0\r", " 111\r")).contains("PCMU"));
        assert!(unfit(&OFFER.replace("m=application", "m=text")).contains("oai-events"));
        let mapped = OFFER.replace(" 111 0\r", " 96\r\na=rtpmap:96 PCMU/8000\r");
        assert!(Offer::read(&mapped).is_ok());
    }
}
