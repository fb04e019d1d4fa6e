//! The second and the third thread of a layer: one decompresses, the other proves what came out.

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;
use microagent_types::Digest;

use super::{
    Compression,
    chunks::{Chunks, Filler, Message, Stopped},
    stored::StoredBytes,
};
use crate::{
    cancel::CancelToken, error::OciError, hash::RunningDigest, limits::ZSTD_WINDOW_LOG_MAX,
};

/// Decompresses `source`, up to so many plain bytes.
pub(super) fn unpack(
    blob: &str,
    compression: Compression,
    mut source: StoredBytes,
    limit_bytes: u64,
    cancel: &CancelToken,
    to: &Filler,
) -> Result<(), OciError> {
    let decompress = |source| OciError::Decompress {
        blob: blob.to_owned(),
        source,
    };
    let unpacked = {
        let mut decoder = decoder(compression, &mut source).map_err(decompress)?;
        to.pass(&mut decoder, limit_bytes, cancel)
    };
    let ended = match unpacked {
        Ok(()) => Ok(()),
        Err(Stopped::Gone) => return Ok(()),
        Err(Stopped::Cancelled) => return Err(OciError::Cancelled),
        Err(Stopped::TooLarge) => {
            return Err(OciError::LayerTooLarge {
                blob: blob.to_owned(),
                limit_bytes,
            });
        }
        Err(Stopped::Failed(source)) => Err(decompress(source)),
    };
    // What does not decompress has most likely been damaged, or never came: that is the clearer word.
    source.finish()?;
    ended
}

fn decoder<'a>(
    compression: Compression,
    source: &'a mut StoredBytes,
) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(source),
        Compression::Gzip => Box::new(MultiGzDecoder::new(source)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    })
}

/// Passes chunks on and says at their end whether they were what was promised.
pub(super) fn prove(
    blob: String,
    diff_id: Option<Digest>,
    from: &Chunks,
    to: &std::sync::mpsc::SyncSender<Message>,
) {
    let mut digest = RunningDigest::default();
    loop {
        let passed_on = match from.next() {
            Message::Chunk(chunk) => {
                if diff_id.is_some() {
                    digest.update(&chunk);
                }
                Message::Chunk(chunk)
            }
            Message::End(end) => Message::End(end.and_then(|()| verdict(&blob, diff_id, &digest))),
        };
        let ended = matches!(passed_on, Message::End(_));
        if to.send(passed_on).is_err() || ended {
            return;
        }
    }
}

fn verdict(blob: &str, diff_id: Option<Digest>, digest: &RunningDigest) -> Result<(), OciError> {
    let Some(expected) = diff_id else {
        return Ok(());
    };
    let found = digest.clone().finish();
    if found == expected {
        return Ok(());
    }
    Err(OciError::ContentMismatch {
        blob: blob.to_owned(),
        expected,
        found,
    })
}
