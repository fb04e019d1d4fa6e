//! Any text as a reference or a source: what is taken says itself again, and the same.

use microagent_types::{ImageRef, ImageSource};

/// Parses `bytes`, where they are text.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(reference) = text.parse::<ImageRef>() {
        let said = reference.to_string();
        assert_eq!(said.parse::<ImageRef>().as_ref(), Ok(&reference), "{said}");
    }
    if let Ok(source) = text.parse::<ImageSource>() {
        let said = source.to_string();
        assert_eq!(said.parse::<ImageSource>().as_ref(), Ok(&source), "{said}");
    }
}
