//! The one-line text handshake of a vsock that is a Unix socket on the host.
//!
//! Firecracker and `vhost-device-vsock` speak it alike: `CONNECT <port>\n`, then `OK <number>\n`.
//! Two traps make it worth a file. What follows the answer's line belongs to the stream, so the
//! answer must be taken byte by byte and never be read ahead. And the other side is not trusted to
//! end its line. Pure: bytes in, a verdict out.

use microagent_types::VsockPort;

/// Bytes of the longest answer, its line feed included.
pub const ANSWER_BYTES_MAX: usize = 32;

/// What is written, in one write and with nothing after it until the answer was read.
pub fn request(port: VsockPort) -> Vec<u8> {
    format!("CONNECT {port}\n").into_bytes()
}

/// Takes an answer byte by byte.
#[derive(Debug, Default)]
pub struct AnswerReader {
    line: Vec<u8>,
}

/// Whether the answer is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Not yet.
    More,
    /// The guest has accepted; the next byte belongs to the stream.
    Accepted,
}

/// Not an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The connection ended in place of an answer.
    #[error("nothing listens on that port in the guest")]
    Refused,
    /// The connection ended inside an answer.
    #[error("the connection ended in the middle of the handshake")]
    Cut,
    /// The line is longer than any answer.
    #[error("the answer to the handshake is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// The line says something else.
    #[error("the answer to the handshake is `{}`", line.escape_debug())]
    Strange {
        /// What it says.
        line: String,
    },
}

impl AnswerReader {
    /// Takes the next byte.
    pub fn push(&mut self, byte: u8) -> Result<Progress, HandshakeError> {
        if byte == b'\n' {
            return judge_line(&self.line);
        }
        // The line feed must fit as well.
        if self.line.len() + 1 >= ANSWER_BYTES_MAX {
            return Err(HandshakeError::TooLong);
        }
        self.line.push(byte);
        Ok(Progress::More)
    }

    /// What an end of file means now.
    pub fn end(&self) -> HandshakeError {
        if self.line.is_empty() {
            HandshakeError::Refused
        } else {
            HandshakeError::Cut
        }
    }
}

fn judge_line(line: &[u8]) -> Result<Progress, HandshakeError> {
    // The number is the device's own port for the connection and means nothing to us.
    let number = line.strip_prefix(b"OK ").unwrap_or_default();
    if !number.is_empty() && number.iter().all(u8::is_ascii_digit) {
        return Ok(Progress::Accepted);
    }
    Err(HandshakeError::Strange {
        line: String::from_utf8_lossy(line).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed(bytes: &[u8]) -> (usize, Result<Progress, HandshakeError>) {
        let mut reader = AnswerReader::default();
        for (index, byte) in bytes.iter().enumerate() {
            match reader.push(*byte) {
                Ok(Progress::More) => {}
                other => return (index + 1, other),
            }
        }
        (bytes.len(), Err(reader.end()))
    }

    #[test]
    fn the_request_is_one_line() {
        assert_eq!(request(VsockPort::SERVICE), b"CONNECT 1025\n");
    }

    #[test]
    fn reading_stops_at_the_line_feed() {
        assert_eq!(
            feed(b"OK 1073741824\nHELLO"),
            (14, Ok(Progress::Accepted)),
            "the stream's first bytes are left alone"
        );
    }

    #[test]
    fn an_end_before_the_answer_is_a_port_without_a_listener() {
        assert_eq!(feed(b"").1, Err(HandshakeError::Refused));
        assert_eq!(feed(b"OK 1").1, Err(HandshakeError::Cut));
    }

    #[test]
    fn the_longest_answer_passes_and_one_byte_more_does_not() {
        let digits = "1".repeat(ANSWER_BYTES_MAX - 4);
        assert_eq!(
            feed(format!("OK {digits}\n").as_bytes()).1,
            Ok(Progress::Accepted)
        );
        assert_eq!(
            feed(format!("OK {digits}1\n").as_bytes()).1,
            Err(HandshakeError::TooLong)
        );
    }

    #[test]
    fn other_lines_are_named() {
        for line in ["", "OK", "OK ", "OK x", "ok 1", "OK 1 ", "ERR 1"] {
            assert_eq!(
                feed(format!("{line}\n").as_bytes()).1,
                Err(HandshakeError::Strange {
                    line: line.to_owned()
                }),
                "{line}"
            );
        }
    }

    proptest! {
        #[test]
        fn hostile_answers_end_within_the_limit(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let (taken, _) = feed(&bytes);
            prop_assert!(taken <= ANSWER_BYTES_MAX);
        }
    }
}
