//! The guest init that a boot takes. A workspace lives longer than the installation that made it: its record names
//! the guest init of that day, and the prefix may have been moved since, or another release may be in it.

use crate::context::Context;
use microagent_boot::initramfs;
use microagent_types::{AbsPath, Arch};
use microagent_wire::supervisor::spec::HashedFile;

/// The guest init of this installation, for a start of a workspace that is there. None when there is none: then the
/// recorded one is booted.
pub(crate) fn installed(context: &Context) -> Option<HashedFile> {
    let found = initramfs::find(&context.search_path, Arch::current()?).ok()?;
    Some(HashedFile {
        path: AbsPath::try_from(found.path.as_path()).ok()?,
        sha256: found.sha256,
    })
}
