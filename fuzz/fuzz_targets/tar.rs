//! Any bytes as an archive: an error or an end, in bounded time, without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microagent_tar::{Content, TarReader};

fuzz_target!(|bytes: &[u8]| {
    let mut reader = TarReader::new(bytes);
    while let Ok(Some(_)) = reader.next_entry() {
        let mut seen = 0usize;
        let read = reader.content(|piece| {
            if let Content::Bytes(bytes) = piece {
                seen += bytes.len();
            }
            Ok::<(), ()>(())
        });
        assert!(seen <= bytes.len(), "no more comes out than went in");
        if read.is_err() {
            break;
        }
    }
});
