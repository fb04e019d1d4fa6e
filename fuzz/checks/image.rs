//! Any bytes as the archive of a layer, up to the disk: an image or an error. Nothing is written
//! beyond the image's end, however large the holes are that the archive claims.

use std::io;

use super::sealed::sealed;
use microagent_ext4::{Ext4Writer, Identity, ImageSize, ImageWriter, Sink};
use microagent_rootfs::assemble::{Warnings, lay_archive};
use microagent_rootfs::flatten::{Flattening, Whiteouts};
use microagent_tar::TarReader;

/// Lays the archive, with the checksums that it should have, twice on an empty root, as two layers, and writes what is left.
pub(crate) fn check(bytes: &[u8]) {
    let bytes = &sealed(bytes)[..];
    let identity = Identity {
        uuid: [7; 16],
        created: 0,
    };
    let mut sink = Measured::default();
    let mut writer = Ext4Writer::new(&mut sink, ImageSize::Fit, identity).expect("a fitted size");
    let mut flattening = Flattening::new(Whiteouts::Honoured);
    let mut warnings = Warnings::default();
    for _ in 0..2 {
        flattening.begin_layer();
        let mut tar = TarReader::new(bytes);
        let laid = lay_archive(
            &mut tar,
            &mut flattening,
            &mut writer,
            &mut warnings,
            &mut || {},
        );
        if laid.is_err() {
            return;
        }
    }
    let tree = flattening.finish();
    if let Ok(summary) = writer.finish(&tree) {
        assert!(sink.end <= summary.size_bytes);
        assert!(summary.used_bytes <= summary.size_bytes);
        assert_eq!(sink.len, summary.size_bytes);
    }
}

/// Remembers how far was written.
#[derive(Default)]
struct Measured {
    end: u64,
    len: u64,
}

impl Sink for Measured {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.end = self.end.max(offset + bytes.len() as u64);
        Ok(())
    }

    fn clear(&mut self, offset: u64, len: u64) -> io::Result<()> {
        assert!(offset + len <= self.end, "only what was written is cleared");
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.len = len;
        Ok(())
    }
}
