//! Unpacking on a host whose folders can't be opened.

use microagent_tar::{ByteSource, TarReader};

pub use crate::choices::{
    AttributeChoice, Powers, UnpackError, UnpackOptions, UnpackOwner, Unpacked,
};
use crate::folder::Folder;
use crate::report::Counts;

/// Unpacks the archive into `folder`.
///
/// # Errors
/// There is no such folder.
pub fn unpack<S: ByteSource>(
    _tar: &mut TarReader<S>,
    folder: &Folder,
    _options: UnpackOptions<'_>,
    _done: &mut Unpacked,
    _goes_on: &mut dyn FnMut(&Counts) -> bool,
) -> Result<(), UnpackError> {
    folder.nothing()
}
