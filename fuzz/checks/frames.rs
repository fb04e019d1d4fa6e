//! Any bytes as what a host says to a guest and a guest to a host: the same frames in whatever pieces they
//! come, none beyond its limit, and every control frame a message or an error.

use microagent_wire::frame::{Frame, FrameDecoder, FrameKind, Sender, read_frame};
use microagent_wire::guest::control::{GuestMessage, HostMessage};
use microagent_wire::guest::parse;
use microagent_wire::guest::service::{ServiceAnswer, ServiceRequest, SessionInput, SessionOutput};

/// Decodes `bytes` as both sides would, and reads them as each message.
pub(crate) fn check(bytes: &[u8]) {
    for sender in [Sender::Host, Sender::Guest] {
        let (frames, end) = decoded(bytes, sender, bytes.len().max(1));
        let piece = bytes.first().map_or(1, |byte| usize::from(*byte) + 1);
        let in_pieces = decoded(bytes, sender, piece);
        assert!(
            (&frames, &end) == (&in_pieces.0, &in_pieces.1),
            "pieces of {piece} bytes change the result"
        );
        assert_eq!(
            frames,
            read(bytes, sender),
            "a blocking reader sees the same"
        );
        let mut place = 0;
        for frame in &frames {
            assert!(frame.payload.len() <= frame.kind.payload_bytes_max(sender));
            let encoded = frame.encode();
            assert_eq!(encoded, bytes[place..place + encoded.len()]);
            place += encoded.len();
            if frame.kind == FrameKind::Control {
                understand(&frame.payload);
            }
        }
    }
    understand(bytes);
}

/// Frames until the end or the first that is none, and why it is none.
fn decoded(bytes: &[u8], sender: Sender, piece: usize) -> (Vec<Frame>, Option<String>) {
    let mut decoder = FrameDecoder::new(sender);
    let mut frames = Vec::new();
    for mut rest in bytes.chunks(piece) {
        while !rest.is_empty() {
            match decoder.decode(&mut rest) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => assert!(rest.is_empty(), "bytes are left without a frame"),
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
    }
    let end = (!decoder.at_boundary()).then(|| "cut short".to_owned());
    (frames, end)
}

fn read(mut bytes: &[u8], sender: Sender) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Ok(Some(frame)) = read_frame(&mut bytes, sender) {
        frames.push(frame);
    }
    frames
}

/// What can be read as a message can be said again, and means the same.
fn understand(payload: &[u8]) {
    if let Ok(request) = ServiceRequest::parse(payload) {
        let again = request.to_json().to_string();
        assert_eq!(
            ServiceRequest::parse(again.as_bytes()).expect("it was one"),
            request
        );
    }
    let _ = serde_json::from_slice::<ServiceAnswer>(payload);
    let _ = parse::<SessionInput>(payload);
    let _ = parse::<SessionOutput>(payload);
    let _ = parse::<GuestMessage>(payload);
    let _ = parse::<HostMessage>(payload);
}
